"""Access to the database for tests."""

from typing import Any
from uuid import UUID

import psycopg2
import psycopg2.extras

from contracts import CONTRACT_VERSION
from contracts.ids import new_id
from contracts.names import Task
from tests.support.waiting import wait_until

LOCK_TIMEOUT = "-c lock_timeout=60s"
"""The lock of a failed test makes the next test fail instead of blocking all tests."""


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
            # The first use, or the server was down.
            self._connection = psycopg2.connect(self._url, options=LOCK_TIMEOUT)
            self._connection.autocommit = True
            return self._connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
        return cursor

    def one(self, sql: str, *values: Any) -> Any:
        """Return the first column of the only row."""
        (row,) = self.query(sql, *values)
        return next(iter(row.values()))

    def read_audit_log(self) -> list[dict[str, Any]]:
        """Return `action`, `subject` and `detail` of the audit log in order, without issue creations."""
        return self.query(
            "SELECT action, subject, detail FROM audit_log WHERE action <> 'issue.created' ORDER BY id"
        )

    def states(self) -> dict[str, int]:
        """Return the number of jobs per state, without index jobs."""
        rows = self.query("SELECT state, count(*) FROM job WHERE task <> %s GROUP BY state", Task.INDEX_ISSUE)
        return {row["state"]: row["count"] for row in rows}

    def wait_for_states(self, expected: dict[str, int]) -> None:
        """Wait until the ledger contains exactly these jobs per state, without index jobs."""
        wait_until(
            lambda: self._states_or_none() == expected, lambda: f"{expected}; the states are {self.states()}"
        )

    def _states_or_none(self) -> dict[str, int] | None:
        try:
            return self.states()
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            return None  # the server is down

    def add_job(self, task: str, queue: str = "issues", **fields: Any) -> UUID:
        """Insert a pending job with `fields` in its message."""
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

    def pause(self, kind: str, name: str) -> None:
        """Pause a queue, a task or a project, as an admin does."""
        self.query("INSERT INTO pause (kind, name, paused_by) VALUES (%s, %s, 'alice')", kind, name)

    def job(self, job_id: UUID | str) -> dict[str, Any]:
        """Return the row of a job."""
        (row,) = self.query("SELECT * FROM job WHERE id = %s", job_id)
        return row

    def failures(self, job_id: UUID | str) -> list[dict[str, Any]]:
        """Return the failed attempts of a job in order."""
        return self.query("SELECT * FROM job_failure WHERE job_id = %s ORDER BY attempt", job_id)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
