"""X.509 certificates of OpenSSL, with the extensions and dates of the test."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

CONFIG = """
[req]
prompt = no
distinguished_name = name
[name]
CN = {name}
[ca]
default_ca = authority
[authority]
database = issued.txt
new_certs_dir = .
default_md = sha256
policy = any
rand_serial = yes
[any]
CN = supplied
[extensions]
"""


def _openssl_version() -> str:
    program = shutil.which("openssl")
    done = program and subprocess.run([program, "version"], capture_output=True, text=True, check=False)
    return done.stdout if done else "none"


needs_openssl = pytest.mark.skipif(
    not re.match(r"OpenSSL [3-9]\.", _openssl_version()), reason=f"openssl 3 is missing: {_openssl_version()}"
)


def issue(
    directory: Path, name: str, extensions: Sequence[str], issuer: str | None = None, valid_days: int = 1
) -> None:
    """Write `name.crt` and `name.key`, signed by the issuer in the same directory, or by itself.

    The certificate became valid 10 days ago and expires in `valid_days` days. OpenSSL adds key identifiers unless
    the extensions contain `subjectKeyIdentifier=none` and `authorityKeyIdentifier=none`.
    """
    (directory / "openssl.cnf").write_text(CONFIG.format(name=name) + "\n".join(extensions))
    (directory / "issued.txt").write_text("")  # OpenSSL would reject a second certificate of the same name
    start, end = (
        (datetime.now(UTC) + timedelta(days=days)).strftime("%Y%m%d%H%M%SZ") for days in (-10, valid_days)
    )
    key, request = f"{name}.key", f"{name}.csr"
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key)
    _openssl(directory, "req", "-new", "-config", "openssl.cnf", *new_key, "-out", request)
    signer = ("-cert", f"{issuer}.crt", "-keyfile", f"{issuer}.key") if issuer else ("-selfsign", "-keyfile", key)
    dates = ("-startdate", start, "-enddate", end)
    options = ("-config", "openssl.cnf", "-batch", "-notext", "-extensions", "extensions")
    _openssl(directory, "ca", *options, *signer, *dates, "-in", request, "-out", f"{name}.crt")


def _openssl(directory: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
