"""The Job `secrets` accepts the certificates of real clusters, and still verifies them.

Since Python 3.13, which the image has, the default context also requires extensions that some clusters omit. CI
runs these tests on 3.11 and 3.13.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from tests.support.api_server import ApiServer
from tests.support.certificates import issue, needs_openssl
from tests.support.manifests import K8S

pytestmark = needs_openssl

NO_IDENTIFIERS = ("subjectKeyIdentifier=none", "authorityKeyIdentifier=none")
CA = "basicConstraints=critical,CA:TRUE"
SIGNS = "keyUsage=critical,digitalSignature,keyCertSign"
SERVER = "subjectAltName=IP:127.0.0.1"


@contextmanager
def run_api_server(directory: Path) -> Iterator[int]:
    """Serve the certificate of the directory on loopback and yield the port."""
    (directory / "secrets").mkdir()
    with ApiServer(directory, ("127.0.0.1", 0)) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def run_job(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the Job's command against a server with `server.crt`. The cluster's authority is `ca.crt`."""
    (directory / "token").write_text("of-the-job")
    (directory / "namespace").write_text("issuetracker")
    (directory / "templates").mkdir()
    (directory / "templates/access").write_text("ADMIN_TOKEN=$token\n")
    script = K8S / "base/secrets/generate.py"
    with run_api_server(directory) as port:
        account = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}
        return subprocess.run(
            [sys.executable, "-I", script, directory / "templates"],
            env={**os.environ, **account, "SERVICE_ACCOUNT": str(directory)},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.mark.parametrize(
    ("authority", "server"),
    [
        pytest.param((CA, SIGNS), (SERVER,), id="all-extensions"),
        pytest.param((CA, SIGNS, *NO_IDENTIFIERS), (SERVER, *NO_IDENTIFIERS), id="no-key-identifiers"),
        pytest.param((CA, *NO_IDENTIFIERS), (SERVER, *NO_IDENTIFIERS), id="only-basic-constraints"),
        pytest.param((CA,), (SERVER,), id="no-key-usage"),
        pytest.param(("basicConstraints=CA:TRUE", SIGNS), (SERVER,), id="basic-constraints-not-critical"),
    ],
)
def test_secrets_job_with_ca_of_cluster_creates_secret(
    authority: Sequence[str], server: Sequence[str], tmp_path: Path
) -> None:
    issue(tmp_path, "ca", authority)
    issue(tmp_path, "server", server, issuer="ca")

    done = run_job(tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, "secrets: access: created\n", "")
    assert (tmp_path / "secrets/access.json").exists()


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("expired", "certificate has expired"),
        ("ca-expired", "certificate has expired"),
        ("other-host", "IP address mismatch"),
        ("other-ca", "self-signed certificate in certificate chain"),
        ("issuer-is-no-ca", "invalid CA certificate"),
    ],
)
def test_secrets_job_with_invalid_certificate_fails(case: str, reason: str, tmp_path: Path) -> None:
    issue(tmp_path, "ca", (CA, *NO_IDENTIFIERS), valid_days=-1 if case == "ca-expired" else 1)
    issuer = {"other-ca": "other", "issuer-is-no-ca": "leaf"}.get(case, "ca")
    if issuer != "ca":
        extensions, signer = (
            ((CA,), None) if issuer == "other" else (("basicConstraints=critical,CA:FALSE",), "ca")
        )
        issue(tmp_path, issuer, (*extensions, *NO_IDENTIFIERS), issuer=signer)
    name = "subjectAltName=IP:127.0.0.2" if case == "other-host" else SERVER
    issue(tmp_path, "server", (name, *NO_IDENTIFIERS), issuer, valid_days=-1 if case == "expired" else 1)
    with (tmp_path / "server.crt").open("a") as chain:
        chain.write((tmp_path / f"{issuer}.crt").read_text())

    done = run_job(tmp_path)

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "CERTIFICATE_VERIFY_FAILED" in line
    assert reason in line
    assert not list((tmp_path / "secrets").iterdir())
