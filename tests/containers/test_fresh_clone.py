"""`docker compose up` on a fresh clone, with nothing before it: no `.env`, no images of the project, no volumes.

All tests share the project and run in order.
"""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.process import Process
from tests.support.docker import docker, needs_compose, needs_images
from tests.support.ports import free_port
from tests.support.processes import ROOT
from tests.support.servers import Log
from tests.support.waiting import wait_until

pytestmark = [
    needs_compose,
    needs_images("python:3.13-slim-trixie", "pgvector/pgvector:pg17", "redis:8"),
    pytest.mark.xdist_group("compose"),
]
PORTS = ("API_PORT", "FLOWER_PORT")
SECRETS = ("ADMIN_TOKEN", "FLOWER_PASSWORD", "POSTGRES_PASSWORD", "POSTGRES_SUPERUSER_PASSWORD", "REDIS_PASSWORD")
ISSUE = """\
curl --silent --fail -X POST http://localhost:8000/api/v1/issues \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer $(docker compose exec -T api cat /run/secrets/ADMIN_TOKEN)" \
  -d '{
    "title": "Test Issue",
    "description": "This is a test issue for Celery enrichment",
    "priority": "high"
  }'"""
SELECT = "SELECT id, title, ai_summary, tags FROM issue WHERE ai_summary IS NOT NULL LIMIT 1;"
SUMMARY = "| Test Issue | AI Summary: "


class Clone:
    """A clone of the repository and its compose project, with a name and ports of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ports = {name: str(free_port()) for name in PORTS}
        self.name = f"issuetracker-clone-{self.ports['API_PORT']}"
        self.env = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            **self.ports,
            "COMPOSE_PROJECT_NAME": self.name,
            "ISSUETRACKER_VERSION": self.name,
        }
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(directory)], check=True)

    def run(self, line: str, *, check: bool = True) -> str:
        """Run a command in the clone and return its output."""
        line = line.replace("localhost:8000", f"localhost:{self.ports['API_PORT']}")
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.directory,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert not check or done.returncode == 0, f"{line}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def secret(self, name: str, service: str) -> str:
        return self.run(f"docker compose exec -T {service} cat /run/secrets/{name}")

    def secrets(self) -> dict[str, str]:
        """Return the secrets that the running services read."""
        return {
            "ADMIN_TOKEN": self.secret("ADMIN_TOKEN", "api"),
            "FLOWER_PASSWORD": self.secret("FLOWER_PASSWORD", "flower"),
            "POSTGRES_PASSWORD": self.secret("POSTGRES_PASSWORD", "postgres"),
            "POSTGRES_SUPERUSER_PASSWORD": self.secret("POSTGRES_SUPERUSER_PASSWORD", "postgres"),
            "REDIS_PASSWORD": self.secret("REDIS_PASSWORD", "redis"),
        }

    def inspect(self) -> str:
        """Return `docker inspect` of all containers of the project."""
        return docker("inspect", *self.run("docker compose ps --all --quiet").split())

    def start_times(self) -> dict[str, str]:
        services = json.loads(self.inspect())
        return {
            service["Name"]: service["State"]["StartedAt"] for service in services if service["State"]["Running"]
        }

    def assert_works(self) -> None:
        """Post the guide's issue, and wait until the guide's query returns its summary."""
        self.run("docker compose exec -T postgres psql -U postgres -d IssueTracker -c 'DELETE FROM issue'")
        self.run(ISSUE)
        query = f"docker compose exec -T postgres psql -U postgres -d IssueTracker -c {shlex.quote(SELECT)}"
        wait_until(lambda: SUMMARY in self.run(query), "a summary")
        assert self.run("docker compose exec -T redis redis-cli ping") == "PONG"
        user = self.secret("FLOWER_BASIC_AUTH", "flower")
        flower = f"curl --silent --output /dev/null --write-out '%{{http_code}}' http://127.0.0.1:{self.ports['FLOWER_PORT']}"
        assert self.run(f"{flower}/ --user {user}") == "200"
        assert self.run(f"{flower}/") == "401"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    clone = Clone(tmp_path_factory.mktemp("fresh") / "clone")
    log = Log()
    up = Process("up", ["docker", "compose", "up"], log, cwd=clone.directory, env=clone.env)

    def is_healthy() -> bool:
        assert up.exit_code is None, str(log)
        return len(re.findall("healthy", clone.run("docker compose ps", check=False))) == 6

    try:
        # It builds the images before.
        wait_until(
            lambda: clone.run("docker compose ps --all --quiet", check=False) != "", lambda: f"images\n{log}"
        )
        wait_until(is_healthy, lambda: f"healthy services\n{log}")
        yield clone
    finally:
        up.stop(120)
        clone.run("docker compose down --volumes --timeout 5 --rmi local", check=False)
        images = docker("images", "--quiet", "--filter", f"reference=*:{clone.name}").split()
        docker("rmi", "--force", *images, check=False)


def test_compose_up_on_fresh_clone_enriches_issue_of_guide(clone: Clone) -> None:
    clone.assert_works()


def test_generated_secrets_are_random_and_private(clone: Clone) -> None:
    secrets = clone.secrets()

    values = [value.removeprefix("itk_admin_") for value in secrets.values()]
    assert all(re.fullmatch("[0-9a-f]{40}", value) for value in values)
    assert len({*values}) == len(SECRETS)
    inspected = clone.inspect()
    assert not [value for value in values if value in inspected]
    modes = clone.run("docker compose exec -T api sh -c 'find /run/secrets -type f -printf \"%m:%U\n\"'")
    assert {*modes.split()} == {"440:0"}
    logs = clone.run("docker compose logs")
    assert not [value for value in values if value in logs]


def test_service_cannot_read_secrets_of_another(clone: Clone) -> None:
    files = 'find /run/secrets -type f -printf "%P\n" | sort'
    readable = (
        f"cd /run/secrets; {files} | while read file; do head -c 0 $file 2>/dev/null && echo $file; done; true"
    )
    flower = clone.run(f"docker compose exec -T flower sh -c '{readable}'").split()
    worker = clone.run(f"docker compose exec -T worker-issues sh -c '{readable}'").split()

    assert flower == [
        "FLOWER_BASIC_AUTH",
        "FLOWER_PASSWORD",
        "flower/CELERY_BROKER_URL",
        "flower/FLOWER_BASIC_AUTH",
    ]
    assert worker == ["worker/CELERY_BROKER_URL", "worker/DATABASE_URL", "worker/SECRET_KEYS"]


def test_env_file_after_first_start_replaces_secrets(clone: Clone) -> None:
    before = clone.secrets()

    clone.run("make env && docker compose up --wait")

    lines = (clone.directory / ".env").read_text().splitlines()
    values = dict(line.split("=") for line in lines)
    after = clone.secrets()
    assert after == {name: values[name] for name in SECRETS}
    assert not {*after.values()} & {*before.values()}
    clone.assert_works()


def test_up_without_change_keeps_secrets_and_containers(clone: Clone) -> None:
    """After the `up` of the previous test, because the first one builds an image for each of its services."""
    secrets, started = clone.secrets(), clone.start_times()

    clone.run("docker compose up --wait")

    assert (clone.secrets(), clone.start_times()) == (secrets, started)


def test_lost_secrets_are_replaced(clone: Clone) -> None:
    before = clone.secrets()
    (clone.directory / ".env").unlink()
    clone.run(f"docker compose down && docker volume rm {clone.name}_secrets")

    clone.run("docker compose up --wait")

    assert not {*clone.secrets().values()} & {*before.values()}
    clone.assert_works()
