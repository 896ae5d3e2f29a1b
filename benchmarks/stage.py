"""Servers of their own for a benchmark, migrated, and gone afterwards."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.database import Database
from tests.support.servers import Servers, migrate, start_servers


@contextmanager
def stage() -> Iterator[tuple[Servers, Database]]:
    """Start PostgreSQL and Valkey in a temporary directory; give them and a connection."""
    # The servers that the numbers so far were measured on.
    os.environ.setdefault("TEST_SERVERS", "wheels")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        # PostgreSQL does not run as root, and its own user has to get in.
        Path(directory).chmod(0o755)
        servers = start_servers(Path(directory))
        migrate(servers)
        database = Database(servers.database_url)
        database.query("CREATE TABLE effect (job_id uuid, attempt integer)")
        yield servers, database
        database.close()
        servers.close()
