"""Looking at, and changing, the database as a test sees it."""

from typing import Any
from uuid import UUID

import psycopg2
import psycopg2.extras

from contracts import CONTRACT_VERSION
from contracts.ids import new_id
from contracts.names import Task
from devstack.network import wait_until

LOCK_TIMEOUT = "-c lock_timeout=60s"
"""A lock that a failed test has left behind fails the next one, and does not stop them all."""


class Database:
    """A connection that commits each statement."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None

    def query(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Run one statement and return its rows."""
        with self._cursor() as cursor:
            cursor.execute(sql, [str(value) if isinstance(value, UUID) else value for value in values])
            return [dict(row) for row in cursor.fetchall()] if cursor.description else []

    def _cursor(self) -> Any:
        try:
            cursor = self._connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
            cursor.execute("SELECT 1")
        except (AttributeError, psycopg2.OperationalError, psycopg2.InterfaceError):
            # The first use, or the server has been away.
            self._connection = psycopg2.connect(self._url, options=LOCK_TIMEOUT)
            self._connection.autocommit = True
            return self._connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
        return cursor

    def one(self, sql: str, *values: Any) -> Any:
        """Return the first column of the only row."""
        (row,) = self.query(sql, *values)
        return next(iter(row.values()))

    def audited(self) -> list[dict[str, Any]]:
        """Return the audit log's `action`, `subject` and `detail` in order, that issues were created aside."""
        return self.query(
            "SELECT action, subject, detail FROM audit_log WHERE action <> 'issue.created' ORDER BY id"
        )

    def states(self) -> dict[str, int]:
        """Return how many jobs are in each state, those aside that index what was enriched."""
        rows = self.query("SELECT state, count(*) FROM job WHERE task <> %s GROUP BY state", Task.INDEX_ISSUE)
        return {row["state"]: row["count"] for row in rows}

    def wait_for_states(self, expected: dict[str, int], timeout_s: float = 60) -> None:
        """Wait until the ledger holds exactly these jobs, those aside that index what was enriched."""
        try:
            wait_until(lambda: self._states_or_none() == expected, timeout_s, f"{expected}")
        except TimeoutError as error:
            raise AssertionError(f"{error}, but there are {self.states()}") from None

    def _states_or_none(self) -> dict[str, int] | None:
        try:
            return self.states()
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            return None  # the server is away

    def add_job(self, task: str, queue: str = "issues", **fields: Any) -> UUID:
        """Insert a pending job of a task with the message's own fields."""
        job_id = new_id()
        message = {"contract_version": CONTRACT_VERSION, "job_id": str(job_id), **fields}
        self.query(
            "INSERT INTO job (id, task, queue, message) VALUES (%s, %s, %s, %s)",
            job_id,
            task,
            queue,
            psycopg2.extras.Json(message),
        )
        return job_id

    def job(self, job_id: UUID | str) -> dict[str, Any]:
        """Return a job's row."""
        (row,) = self.query("SELECT * FROM job WHERE id = %s", job_id)
        return row

    def failures(self, job_id: UUID | str) -> list[dict[str, Any]]:
        """Return a job's failed attempts in order."""
        return self.query("SELECT * FROM job_failure WHERE job_id = %s ORDER BY attempt", job_id)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
