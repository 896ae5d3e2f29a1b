"""The users of Redis in a deployment. Each service of the tests connects as its own."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import redis

from contracts.network import BROKER_DB, RESULT_DB

SCRIPT = Path(__file__).parents[2] / "deploy/redis/users"
NAMES = ("api", "exporter", "flower", "worker")
PASSWORD = "of-the-tests"

_ports: set[int] = set()
"""The ports of the servers with these users."""


def write_users(directory: Path, port: int) -> Path:
    """Write the users to a file of the directory, for the server on that port to include; return it."""
    passwords = {f"PASSWORD_{name}": PASSWORD for name in NAMES}
    command = ["sh", str(SCRIPT)]
    done = subprocess.run(command, env={**os.environ, **passwords}, capture_output=True, text=True, check=True)
    file = directory / "users.conf"
    file.write_text(done.stdout)
    file.chmod(0o644)
    _ports.add(port)
    return file


def connect_as(user: str, env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service, with its user in the URLs of servers that have it."""
    return {name: _add_user(user, value) if name.startswith("CELERY_") else value for name, value in env.items()}


def _add_user(user: str, text: str) -> str:
    url = urlsplit(text)
    is_own = url.port in _ports and url.path in {f"/{BROKER_DB}", f"/{RESULT_DB}"} and "@" not in url.netloc
    return url._replace(netloc=f"{user}:{PASSWORD}@{url.netloc}").geturl() if is_own else text


def find_denied(port: int) -> list[str]:
    """Return the commands that a server denied to these users, with their key or channel."""
    with redis.Redis(port=port, decode_responses=True) as client:
        return [
            f"{entry['username']}: {entry['reason']} {entry['object']}"
            for entry in client.acl_log()
            if entry["username"] in NAMES
        ]
