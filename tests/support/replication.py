"""Two PostgreSQL servers with streaming replication, and a port that leads to the primary."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from devstack.address import DatabaseAddress
from devstack.postgres import SUPERUSER, Postgres
from tests.support.forwarder import Forwarder
from tests.support.ports import free_port
from tests.support.servers import FAST_OPTIONS, Log
from tests.support.waiting import wait_until


class Node(Postgres):
    """A server that can be the primary or the hot standby of another one."""

    def __init__(self, directory: Path, log: Log) -> None:
        self.port = free_port()
        self.url = f"postgresql://issuetracker@127.0.0.1:{self.port}/IssueTracker"
        super().__init__(directory, DatabaseAddress.parse(self.url), log, FAST_OPTIONS)

    @property
    def conninfo(self) -> str:
        """The superuser's connection string, over the Unix socket."""
        return f"host={self._socket} port={self.port} user={SUPERUSER}"

    def query(self, sql: str) -> Any:
        """Run a statement as the superuser; return the first column of its first row."""
        connection = self.connect("postgres")
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                (value,) = cursor.fetchone() or (None,) if cursor.description else (None,)
                return value
        finally:
            connection.close()

    def copy_from(self, primary: "Node") -> None:
        """Replace the data of this stopped server by a copy of the primary's, and start as its standby."""
        for entry in self._data.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        command = [*self._prefix, str(self._programs / "pg_basebackup"), "--pgdata", str(self._data)]
        options = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--dbname", primary.conninfo]
        subprocess.run([*command, *options], cwd=self._data, check=True)
        self.start()

    def follow(self, primary: "Node") -> None:
        """Start this stopped former primary as the standby of its successor."""
        (self._data / "standby.signal").touch()
        settings = f"primary_conninfo = '{primary.conninfo}'\nsynchronous_standby_names = ''\n"
        with (self._data / "postgresql.auto.conf").open("a") as file:
            file.write(settings)
        self.start()

    def _write_access_rules(self) -> None:
        super()._write_access_rules()
        with (self._data / "pg_hba.conf").open("a") as file:
            file.write("local replication all trust\n")

    def _create_database(self) -> None:
        if not (self._data / "standby.signal").exists():
            super()._create_database()


class ReplicatedPostgres:
    """A primary with a synchronous standby: each acknowledged commit is on both."""

    def __init__(self, directory: Path) -> None:
        self.log = Log()
        self.primary, self.standby = (Node(directory / name, self.log) for name in ("a", "b"))
        self.primary.start()
        self.make_redundant()
        self.name = Forwarder(self.primary.port)
        self.url = self.primary.url.replace(f":{self.primary.port}/", f":{self.name.port}/")

    def fence_primary(self) -> None:
        """Make the primary read-only while it stays up, and wait until its last write has committed."""
        self.primary.query("ALTER SYSTEM SET default_transaction_read_only = on")
        self.primary.query("SELECT pg_reload_conf()")
        writing = "SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL"
        wait_until(lambda: self.primary.query(writing) == 0, "the last write")

    def promote_standby(self) -> None:
        """Promote the standby. The name still leads to the old primary, which is now `standby`."""
        assert self.standby.query("SELECT pg_promote()")
        self.primary, self.standby = self.standby, self.primary

    def make_redundant(self) -> None:
        """Let the other server be a standby again, and each commit wait for it."""
        streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        if self.primary.query(streaming) == 0:
            self.standby.stop()
            self.standby.copy_from(self.primary)
            wait_until(lambda: self.primary.query(streaming) == 1, "the standby")
        self.primary.query("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.query("SELECT pg_reload_conf()")

    def demote(self) -> None:
        """Restart the old primary, which has stopped, as a standby. The name still leads to it."""
        self.standby.follow(self.primary)

    def move_name(self) -> None:
        """Lead new connections to the current primary."""
        self.name.lead_to(self.primary.port)

    def close(self) -> None:
        self.name.close()
        for node in (self.standby, self.primary):
            node.stop()
