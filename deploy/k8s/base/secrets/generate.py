"""Creates the Secrets that a directory of templates describes. Existing Secrets are not changed.

    python generate.py TEMPLATES

Runs once in the cluster, with the permission to create Secrets in its own namespace only. The values are
hexadecimal digits, which need no quoting in a URL. The output contains names, never values.
"""

import json
import os
import secrets
import ssl
import sys
import urllib.error
import urllib.request
from collections import defaultdict
from pathlib import Path
from string import Template

ACCOUNT = Path(os.environ.get("SERVICE_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
TIMEOUT_S = 10


class SecretError(Exception):
    """The API server cannot be reached, or rejected the request."""


def render_secret(template: str, namespace: str) -> dict[str, str]:
    """Return the entries of a Secret, with a random value for each placeholder of the template."""
    placeholders: dict[str, str] = defaultdict(lambda: secrets.token_hex(20))
    placeholders["namespace"] = namespace
    lines = Template(template).substitute(placeholders).splitlines()
    return dict(line.split("=", 1) for line in lines)


def _tls_context() -> ssl.SSLContext:
    """Return a context that verifies chain, dates and host name against the cluster's authority.

    Python 3.13 also requires extensions of RFC 5280 that the certificates of some clusters omit: those of Amazon
    EKS have no key identifiers, others have no key usage. Kubernetes' own clients do not require them.
    """
    context = ssl.create_default_context(cafile=ACCOUNT / "ca.crt")
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def create(name: str, entries: dict[str, str], namespace: str) -> bool:
    """Create a Secret; return False if it already exists."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "issuetracker"}},
        "stringData": entries,
    }
    request = urllib.request.Request(
        f"https://{f'[{host}]' if ':' in host else host}:{port}/api/v1/namespaces/{namespace}/secrets",
        data=json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}",
            "Content-Type": "application/json",
        },
    )
    try:
        urllib.request.urlopen(request, timeout=TIMEOUT_S, context=_tls_context()).close()  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == 409:
            return False
        body_text = error.read(500).decode(errors="replace")
        raise SecretError(f"{name}: the API server returned {error.code}: {body_text}") from None
    except OSError as error:
        raise SecretError(f"{name}: {host}:{port} cannot be reached: {error}") from None
    return True


def main(templates: Path) -> int:
    """Create the missing Secrets; return the exit code."""
    namespace = (ACCOUNT / "namespace").read_text().strip()
    for template in sorted(templates.glob("[!.]*")):
        try:
            is_created = create(template.name, render_secret(template.read_text(), namespace), namespace)
        except SecretError as error:
            print(f"secrets: {error}", file=sys.stderr, flush=True)
            return 1
        print(f"secrets: {template.name}: {'created' if is_created else 'already exists, unchanged'}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
