"""Enrichment runs in the database."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from uuid import UUID

import asyncpg

from api.database import Database
from api.metrics import jobs as metrics
from api.request_log import request_id
from api.runs.schemas import Run
from contracts import CONTRACT_VERSION, tracing
from contracts.ids import new_id
from contracts.ledger.decisions import CANCEL_RUN, POSTPONE_RUNS
from contracts.ledger.deletion import SERIALIZE
from contracts.ledger.enqueue import ENQUEUE_MANY
from contracts.ledger.queries import LOCK_UNFINISHED
from contracts.ledger.states import RUNNING, SUCCEEDED, WAITING_STATES
from contracts.messages import EnrichIssue
from contracts.names import QUEUE_OF, Task
from contracts.states import JobState

DEBOUNCE_MAX = 10
"""Maximum total delay as a multiple of the delay, so that continuous changes do not prevent enrichment."""

_SELECT = f"""
SELECT job.id, job.issue_id, state, attempts, job.created_at, run_at, started_at, finished_at, last_error, note,
    summary, provenance->>'provider' AS provider, provenance->>'model' AS model
FROM job LEFT JOIN enrichment ON job_id = job.id
WHERE job.issue_id = $1 AND task = '{Task.ENRICH_ISSUE}'
    AND EXISTS (SELECT FROM issue WHERE issue.id = $1 AND deleted_at IS NULL)
"""
_GET = f"{_SELECT} AND job.id = $2"
_PAGE = f"{_SELECT} AND job.id < $2 ORDER BY job.id DESC LIMIT $3"
_EXISTS = "SELECT EXISTS (SELECT FROM issue WHERE id = $1 AND deleted_at IS NULL)"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An unfinished run."""

    id: UUID
    state: JobState


async def lock_unfinished(database: Database, issue_id: UUID) -> list[Unfinished]:
    """Return the issue's unfinished runs, and lock all its unfinished jobs until the transaction ends.

    Call this before any change of an issue's text or runs. It serializes these changes. It also prevents deadlocks
    with workers, which lock the job before the issue.
    """
    return (await lock_unfinished_of(database, [issue_id]))[issue_id]


async def lock_unfinished_of(database: Database, issue_ids: Sequence[UUID]) -> dict[UUID, list[Unfinished]]:
    """Lock the unfinished jobs of several issues, in the order of the ids; return the runs by issue."""
    ordered = sorted(issue_ids)
    await database.execute(*SERIALIZE.bind(issue_ids=ordered))
    unfinished: dict[UUID, list[Unfinished]] = {issue_id: [] for issue_id in ordered}
    for row in await database.fetch(*LOCK_UNFINISHED.bind(issue_ids=ordered)):
        if row["task"] == Task.ENRICH_ISSUE:
            unfinished[row["issue_id"]].append(Unfinished(row["id"], JobState(row["state"])))
    return unfinished


async def start_run(database: Database, issue_id: UUID, delay_s: float = 0) -> UUID:
    """Create a job that enriches the issue again; the dispatcher publishes it after `delay_s`. Return its id."""
    return (await start_runs(database, [issue_id], delay_s))[0]


async def start_runs(database: Database, issue_ids: Sequence[UUID], delay_s: float) -> list[UUID]:
    """Create a job for each issue, in one statement; return the ids of the jobs."""
    messages = [build_enrichment_message(issue_id) for issue_id in issue_ids]
    task = Task.ENRICH_ISSUE
    enqueue = ENQUEUE_MANY.bind(
        ids=[message.job_id for message in messages],
        messages=[json.dumps(message.as_json()) for message in messages],
        issue_ids=issue_ids,
        task=task,
        queue=QUEUE_OF[task],
        delay=timedelta(seconds=delay_s),
    )
    await database.execute(*enqueue)
    database.on_commit(partial(metrics.record_created, task, QUEUE_OF[task], len(messages)))
    return [message.job_id for message in messages]


def build_enrichment_message(issue_id: UUID) -> EnrichIssue:
    """Return the message of a new job that enriches the issue."""
    return EnrichIssue(
        contract_version=CONTRACT_VERSION,
        job_id=new_id(),
        issue_id=issue_id,
        request_id=request_id(),
        traceparent=tracing.traceparent(),
    )


async def schedule_rerun(
    database: Database, issue_id: UUID, unfinished: Sequence[Unfinished], delay_s: float
) -> None:
    """Schedule one run for a changed text, after `delay_s` without further changes.

    A waiting run will read the new text; one that was scheduled here is postponed. A running one may have read the
    old text, so it needs another run.
    """
    await schedule_reruns(database, {issue_id: unfinished}, delay_s)


async def schedule_reruns(
    database: Database, unfinished: Mapping[UUID, Sequence[Unfinished]], delay_s: float
) -> None:
    """Schedule one run for each issue with a changed text, by its unfinished runs."""
    waiting = {issue_id: [run.id for run in runs if run.state != RUNNING] for issue_id, runs in unfinished.items()}
    await start_runs(database, [issue_id for issue_id, runs in waiting.items() if not runs], delay_s)
    postponed = [run for runs in waiting.values() for run in runs]
    postpone = POSTPONE_RUNS.bind(ids=postponed, delay=timedelta(seconds=delay_s), times_max=DEBOUNCE_MAX)
    await database.execute(*postpone)


async def issue_exists(database: Database, issue_id: UUID) -> bool:
    """Return whether the issue exists."""
    found: bool = await database.fetchval(_EXISTS, issue_id)
    return found


async def list_runs(database: Database, issue_id: UUID, before: UUID, limit: int) -> list[Run]:
    """Return at most `limit` runs of the issue older than the run `before`, newest first."""
    return [_run(row) for row in await database.fetch(_PAGE, issue_id, before, limit)]


async def get_run(database: Database, issue_id: UUID, job_id: UUID) -> Run | None:
    """Return a run of the issue, or None if it does not exist."""
    row = await database.fetchrow(_GET, issue_id, job_id)
    return None if row is None else _run(row)


async def cancel_run(database: Database, issue_id: UUID, job_id: UUID) -> bool:
    """Cancel an unfinished run and discard its result; return False if there is none."""
    return await database.fetchval(*CANCEL_RUN.bind(id=job_id, issue_id=issue_id)) is not None


def _run(row: asyncpg.Record) -> Run:
    return Run(
        **{name: row[name] for name in Run.model_fields if name not in {"error", "next_attempt_at"}},
        error=None if row["state"] == SUCCEEDED else row["last_error"],
        next_attempt_at=row["run_at"] if row["state"] in WAITING_STATES else None,
    )
