"""Dead letters in the database: dead jobs of the ledger, and dead messages."""

from functools import partial
from uuid import UUID

from api.database import Database
from api.dead_letters.schemas import (
    Attempt,
    DeadLetter,
    DeadLetterDetail,
    DeadLetterQuery,
    Decision,
    ErrorCount,
    Filter,
)
from api.dispatch.envelope import parse_named_job
from api.metrics import jobs as metrics
from api.timestamps import to_utc
from contracts.ledger import decisions
from contracts.ledger.classes import PriorityClass, class_of
from contracts.ledger.enqueue import insert_jobs
from contracts.ledger.states import IS_DEAD
from contracts.names import QUEUE_OF, Queue
from contracts.states import DeadMessageState

_JOB = """
SELECT id, 'job' AS kind, state, queue, task, issue_id, attempts, last_error AS error, finished_at AS died_at
FROM job
"""
_MESSAGE = """
SELECT id, 'message' AS kind, state, queue, NULL AS task, NULL::uuid AS issue_id, 0 AS attempts, error,
    created_at AS died_at
FROM dead_message
"""
_IS_UNDECIDED = f"state = '{DeadMessageState.DEAD}'"
_CLASS = "split_part(error, ':', 1)"
_MATCHES = f"""
($1::text IS NULL OR task = $1) AND ($2::text IS NULL OR queue = $2) AND ($3::text IS NULL OR {_CLASS} = $3)
AND ($4::timestamptz IS NULL OR died_at > $4) AND ($5::timestamptz IS NULL OR died_at < $5)
AND ($6::text IS NULL OR position(lower($6) IN lower(error)) > 0)
"""
_DEAD_JOBS = f"SELECT * FROM ({_JOB} WHERE {IS_DEAD}) letter WHERE {_MATCHES}"
_DEAD_MESSAGES = f"SELECT * FROM ({_MESSAGE} WHERE {_IS_UNDECIDED}) letter WHERE {_MATCHES}"
_PAGE = f"""
({_DEAD_JOBS} AND id < $7 AND ($8::text IS NULL OR kind = $8) ORDER BY id DESC LIMIT $9)
UNION ALL
({_DEAD_MESSAGES} AND id < $7 AND ($8::text IS NULL OR kind = $8) ORDER BY id DESC LIMIT $9)
ORDER BY id DESC LIMIT $9
"""
_COUNT = f"""
SELECT {_CLASS} AS error, count(*) AS count FROM ({_DEAD_JOBS}) matching GROUP BY 1 ORDER BY 2 DESC, 1
"""
_GET_JOB = f"SELECT letter.*, message, note FROM ({_JOB}) letter JOIN job USING (id) WHERE id = $1"
_GET_MESSAGE = f"SELECT letter.*, raw, note FROM ({_MESSAGE}) letter JOIN dead_message USING (id) WHERE id = $1"
_FAILURES = """
SELECT attempt, kind, worker, error, traceback, started_at, failed_at FROM job_failure
WHERE job_id = $1 ORDER BY attempt
"""
_STATE = """
SELECT id, 'job' AS kind, state FROM job WHERE id = $1
UNION ALL
SELECT id, 'message' AS kind, state FROM dead_message WHERE id = $1
"""
_RAW = f"SELECT queue, raw FROM dead_message WHERE id = $1 AND {_IS_UNDECIDED}"
_REPLAY_MESSAGE = f"""
WITH replayed AS (
    UPDATE dead_message SET state = '{DeadMessageState.REPLAYED}', decided_at = now()
    WHERE id = $1 AND {_IS_UNDECIDED}
    RETURNING id
)
{
    insert_jobs(
        "replayed LEFT JOIN issue ON issue.id = $6::uuid",
        job_id="$2::uuid",
        task="$3::text",
        queue="$5::text",
        message="$4::jsonb",
        issue_id="issue.id",
        project="coalesce(issue.project, '')",
        priority_class=f"coalesce({class_of('issue.priority')}, {PriorityClass.BACKGROUND.value})",
    )
}
ON CONFLICT (id) DO NOTHING
RETURNING task, queue
"""
_DISCARD = f"""
WITH discarded_job AS ({decisions.discard("$1", "$2")})
UPDATE dead_message SET state = '{DeadMessageState.DISCARDED}', note = $2, decided_at = now()
WHERE id = $1 AND {_IS_UNDECIDED}
"""


async def list_dead_letters(
    database: Database, query: DeadLetterQuery, before: UUID, limit: int
) -> list[DeadLetter]:
    """Return at most `limit` dead letters of the query, newest id first, older than `before`."""
    rows = await database.fetch(_PAGE, *_values(query), before, query.kind, limit)
    return [DeadLetter(**row) for row in rows]


async def count_dead_jobs(database: Database, matching: Filter) -> list[ErrorCount]:
    """Return the number of dead jobs by error, most frequent first."""
    return [ErrorCount(**row) for row in await database.fetch(_COUNT, *_values(matching))]


async def replay_jobs(database: Database, matching: Filter, limit: int) -> int:
    """Schedule at most `limit` dead jobs to run now, oldest first; return the number of replayed jobs."""
    replay = decisions.replay_matching(f"SELECT id FROM ({_DEAD_JOBS}) matching", limit)
    replayed: int = await database.fetchval(replay, *_values(matching))
    return replayed


async def get_dead_letter(database: Database, letter_id: UUID) -> DeadLetterDetail | None:
    """Return a dead letter, also after a decision, or None if no job or message has the id."""
    job = await database.fetchrow(_GET_JOB, letter_id)
    if job is not None:
        failures = [Attempt(**row) for row in await database.fetch(_FAILURES, letter_id)]
        return DeadLetterDetail(**job, raw=None, failures=failures)
    message = await database.fetchrow(_GET_MESSAGE, letter_id)
    if message is None:
        return None
    raw: bytes = message["raw"]
    columns = {**message, "raw": raw.decode(errors="backslashreplace")}
    return DeadLetterDetail(**columns, message=None, failures=[])


async def get_decision(database: Database, letter_id: UUID) -> Decision | None:
    """Return the state of a job or dead message, or None if it does not exist."""
    row = await database.fetchrow(_STATE, letter_id)
    return None if row is None else Decision(**row)


async def replay_job(database: Database, letter_id: UUID) -> None:
    """Schedule a dead job to run now with all its attempts; do nothing if it is not dead."""
    await database.execute(*decisions.REPLAY.bind(id=letter_id))


async def replay_message(database: Database, letter_id: UUID) -> bool:
    """Turn a dead message into a due job; return False if it contains no job or no known queue.

    The job has the class and project of its issue, or class background and no project without an issue.
    """
    row = await database.fetchrow(_RAW, letter_id)
    if row is None:
        return True
    named = parse_named_job(row["raw"])
    if named is None:
        return False
    # A known task has its own queue; for an unknown task, use the queue of the message.
    queue = next((queue for task, queue in QUEUE_OF.items() if task == named.task), row["queue"])
    if queue not in set(Queue):
        return False
    values = (letter_id, named.job_id, named.task, named.message, queue, named.issue_id)
    job = await database.fetchrow(_REPLAY_MESSAGE, *values)
    if job is not None:
        database.on_commit(partial(metrics.record_created, job["task"], job["queue"]))
    return True


def _values(matching: Filter) -> tuple[object, ...]:
    died = (to_utc(matching.died_after), to_utc(matching.died_before))
    return (matching.task, matching.queue, matching.error, *died, matching.q)


async def discard(database: Database, letter_id: UUID, reason: str) -> None:
    """Discard a dead letter; do nothing if it is not dead."""
    await database.execute(_DISCARD, letter_id, reason)
