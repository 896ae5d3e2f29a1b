"""Machines with systemd: containers in which systemd is the first process, on a network with TLS-only servers."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import certificates
from tests.support.docker import docker
from tests.support.ports import free_port
from tests.support.processes import ROOT
from tests.support.waiting import DEADLINE_S

IMAGE = "issuetracker-test-machine"
POSTGRES_IMAGE, REDIS_IMAGE = "pgvector/pgvector:pg17", "redis:8"
PASSWORD = "of-the-tests"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
DATABASE_URL = f"postgresql://issuetracker:{PASSWORD}@postgres:5432/IssueTracker?sslmode=verify-full&sslrootcert={AUTHORITIES}"
BROKER_URL = f"rediss://:{PASSWORD}@redis:6379/0?ssl_cert_reqs=required&ssl_ca_certs={AUTHORITIES}"


class Machine:
    """A running machine on which deploy/systemd/install has run."""

    def __init__(self, name: str, network: str, *options: str) -> None:
        self.name = f"{network}-{name}"
        # systemd mounts, and creates users and control groups.
        rights = ("--privileged", "--cgroupns=private", "--tmpfs=/run", "--tmpfs=/tmp")
        place = (f"--name={self.name}", f"--hostname={name}", f"--network={network}")
        docker("run", "--detach", "--rm", *place, *rights, *options, IMAGE)

    def run(self, *command: str, stdin: str | None = None, check: bool = True) -> str:
        """Run a command as root and return its output."""
        done = subprocess.run(
            ["docker", "exec", "--interactive", self.name, *command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}\n{self.journal()}"
        return (done.stdout + done.stderr).strip()

    def write(self, path: str, text: str) -> None:
        """Write a file with mode 0600, as an editor of root would."""
        self.run("sh", "-c", f"umask 077; mkdir -p {Path(path).parent}; cat >{path}", stdin=text)

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        return self.run("systemctl", *arguments, check=check)

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.systemctl("show", "--value", f"--property={name}", unit)

    def journal(self, unit: str = "issuetracker-*") -> str:
        done = subprocess.run(
            ["docker", "exec", self.name, "journalctl", f"--unit={unit}", "--output=cat", "--no-pager"],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        return done.stdout

    def trust(self, authority: Path) -> None:
        """Add an authority to those of the system."""
        docker("cp", str(authority), f"{self.name}:/usr/local/share/ca-certificates/of-the-tests.crt")
        self.run("update-ca-certificates")

    def close(self) -> None:
        docker("rm", "--force", self.name, check=False)


def build() -> None:
    """Build the image of a machine."""
    docker("build", "--quiet", f"--tag={IMAGE}", f"--file={ROOT}/tests/support/machine/Dockerfile", str(ROOT))


def issue_certificates(directory: Path) -> None:
    """Write an authority `ca.crt`, and `server.crt` and `server.key` for the names of both servers."""
    certificates.issue(directory, "ca", ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"])
    certificates.issue(directory, "server", ["subjectAltName=DNS:postgres,DNS:redis"], issuer="ca")
    for name in ("ca.crt", "server.crt", "server.key"):
        (directory / name).chmod(0o644)
    directory.chmod(0o755)


@contextmanager
def start_servers(tls: Path) -> Iterator[tuple[str, str]]:
    """Start PostgreSQL and Redis, which require TLS and a password; yield their network and this host's URL."""
    port = free_port()
    network = f"issuetracker-machines-{port}"
    docker("network", "create", network)
    volume = f"--volume={tls}:/tls:ro"
    postgres = (
        *(f"--publish=127.0.0.1:{port}:5432", f"--env=POSTGRES_PASSWORD={PASSWORD}"),
        *(f"--env=ISSUETRACKER_PASSWORD={PASSWORD}", "--entrypoint=sh"),
        f"--volume={ROOT}/deploy/k8s/base/postgres/init:/docker-entrypoint-initdb.d:ro",
    )
    # The server requires that the key is its own.
    start_postgres = (
        "install -o postgres -m 600 /tls/server.key /tmp/ && exec docker-entrypoint.sh postgres "
        "-c ssl=on -c ssl_cert_file=/tls/server.crt -c ssl_key_file=/tmp/server.key"
    )
    start_redis = (
        *("redis-server", "--port", "0", "--tls-port", "6379", "--requirepass", PASSWORD),
        *("--tls-cert-file", "/tls/server.crt", "--tls-key-file", "/tls/server.key"),
        *("--tls-ca-cert-file", "/tls/ca.crt", "--tls-auth-clients", "no"),
    )
    containers = (
        ("postgres", postgres, POSTGRES_IMAGE, ("-c", start_postgres)),
        ("redis", (), REDIS_IMAGE, start_redis),
    )
    try:
        for name, options, image, command in containers:
            place = (f"--name={network}-{name}", f"--network={network}", f"--network-alias={name}")
            docker("run", "--detach", "--rm", *place, volume, *options, image, *command)
        yield network, f"postgresql://issuetracker:{PASSWORD}@127.0.0.1:{port}/IssueTracker?sslmode=require"
    finally:
        docker("rm", "--force", "--volumes", *(f"{network}-{name}" for name, *_ in containers), check=False)
        docker("network", "rm", network, check=False)


def read_lines(journal: str) -> list[dict[str, Any]]:
    """Return the JSON lines of a journal."""
    return [json.loads(line) for line in journal.splitlines() if line.startswith("{")]
