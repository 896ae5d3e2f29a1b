"""The pauses of queues, tasks and projects. A job to which a pause applies waits in the ledger."""

from contracts.ledger.statement import Statement
from contracts.states import PauseKind


def is_not_paused(kind: PauseKind, value: str) -> str:
    """Return the SQL condition that the queue, task or project, an SQL expression, is not paused itself."""
    return f"{value} <> ALL (ARRAY(SELECT name FROM pause WHERE kind = '{kind}'))"


def not_paused(queue: str = "queue", task: str = "task", project: str = "project") -> str:
    """Return the SQL condition that no pause applies to a job; the arguments are SQL expressions.

    A statement reads the pauses once. If `queue` is a parameter, and that queue is paused, it reads no jobs.
    """
    values = {PauseKind.QUEUE: queue, PauseKind.TASK: task, PauseKind.PROJECT: project}
    return " AND ".join(is_not_paused(kind, value) for kind, value in values.items())


IS_NOT_PAUSED = not_paused()

FIND_PAUSES = Statement("SELECT kind, name, reason, paused_at, paused_by FROM pause ORDER BY kind, name")

_IS_PAUSE = "kind = CAST(:kind AS text) AND name = CAST(:name AS text)"

FIND_PAUSE = Statement(f"SELECT kind, name, reason, paused_at, paused_by FROM pause WHERE {_IS_PAUSE}")

PAUSE = Statement("""
INSERT INTO pause (kind, name, reason, paused_by)
VALUES (CAST(:kind AS text), CAST(:name AS text), CAST(:reason AS text), CAST(:paused_by AS text))
ON CONFLICT (kind, name) DO UPDATE SET reason = excluded.reason
WHERE pause.reason IS DISTINCT FROM excluded.reason
RETURNING true
""")
"""Insert a pause, or change the reason of an existing one; return a row if anything changed."""

RESUME = Statement(f"DELETE FROM pause WHERE {_IS_PAUSE} RETURNING true")
"""Delete a pause; return a row if it existed."""
