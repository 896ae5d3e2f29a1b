"""Runs a PostgreSQL server with the product's schema for an evaluation."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, make_url

from devstack.address import DatabaseAddress
from devstack.network import free_port
from devstack.postgres import Postgres

API = Path(__file__).parents[1] / "services/api"


@contextmanager
def run_server() -> Iterator[URL]:
    """Run a PostgreSQL server with the product's schema; yield its URL."""
    with tempfile.TemporaryDirectory(prefix="evaluation-") as directory:
        # PostgreSQL does not run as root, and its user must be able to enter the directory.
        Path(directory).chmod(0o755)
        url = make_url(f"postgresql://issuetracker@127.0.0.1:{free_port()}/IssueTracker")
        server = Postgres(
            Path(directory), DatabaseAddress.parse(url.render_as_string()), lambda _name, _line: None
        )
        server.start()
        try:
            subprocess.run(  # noqa: S603 - a tool of this environment
                [Path(sys.executable).with_name("alembic"), "upgrade", "head"],
                cwd=API,
                env={**os.environ, "DATABASE_URL": url.render_as_string()},
                check=True,
                capture_output=True,
            )
            yield url
        finally:
            server.stop()
