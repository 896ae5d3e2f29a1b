"""Read and set the number of pods of Deployments through the Kubernetes API.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/deployment-v1/ (subresource `scale`)
"""

import http.client
import json
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Kubernetes mounts the pod's namespace, token and authority here."""
TIMEOUT_S = 10


class ClusterUnavailable(Exception):
    """The API server cannot be reached, or rejected the request."""


class Deployments:
    """The Deployments of one namespace."""

    def __init__(self, account: Path, server: str) -> None:
        self._account = account
        self._server = server
        self._namespace = (account / "namespace").read_text().strip()
        self._tls = ssl.create_default_context(cafile=account / "ca.crt")
        # As in deploy/k8s/base/secrets/generate.py: the certificates of some clusters omit extensions of RFC 5280.
        self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT

    def read_pods(self, name: str) -> int:
        """Return the number of pods that the Deployment should have, or raise ClusterUnavailable."""
        scale = self._request(name)
        try:
            return int(scale["spec"].get("replicas", 0))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ClusterUnavailable(f"{name}: the API server returned no scale: {str(scale)[:200]}") from None

    def set_pods(self, name: str, number: int) -> None:
        """Set the number of pods of the Deployment, or raise ClusterUnavailable."""
        self._request(name, {"spec": {"replicas": number}})

    def _request(self, name: str, patch: dict[str, Any] | None = None) -> Any:
        try:
            request = urllib.request.Request(  # noqa: S310 - always https
                f"{self._server}/apis/apps/v1/namespaces/{self._namespace}/deployments/{name}/scale",
                data=None if patch is None else json.dumps(patch).encode(),
                method="GET" if patch is None else "PATCH",
                # Kubernetes replaces the token before it expires.
                headers={
                    "Authorization": f"Bearer {(self._account / 'token').read_text().strip()}",
                    "Content-Type": "application/merge-patch+json",
                },
            )
            with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=self._tls) as response:  # noqa: S310
                return json.load(response)
        except urllib.error.HTTPError as error:
            text = error.read(500).decode(errors="replace")
            raise ClusterUnavailable(f"{name}: the API server returned {error.code}: {text}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ClusterUnavailable(f"{name}: {self._server} gave no answer: {error}") from None


def find_server() -> str:
    """Return the URL of the API server of this pod's cluster, or raise KeyError outside of a cluster."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    return f"https://{f'[{host}]' if ':' in host else host}:{port}"
