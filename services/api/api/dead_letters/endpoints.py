"""The dead-letter endpoints. Replay and discard change only dead jobs and dead messages."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import APIRouter, HTTPException, Query, Request, Response

from api.access.confirmation import Confirmation, may_read, require_read
from api.audit_trail import record
from api.database import Database, DatabaseDep
from api.dead_letters import repository
from api.dead_letters.schemas import (
    DeadLetterDetail,
    DeadLetterPage,
    DeadLetterQuery,
    Decision,
    Discard,
    Replay,
    Replayed,
)
from api.dispatch.ledger import find_log_fields
from api.paging import page_by_id
from api.problems import require_found

# The paths restrict ids to UUIDs, so that `/replay` is not read as an invalid id.
router = APIRouter(prefix="/api/v1/dead-letters", tags=["dead letters"])

REPLAY_MAX = 10_000
"""Jobs that one call replays: as many as PostgreSQL updates within one request."""

logger = structlog.get_logger(__name__)


@router.get("", operation_id="listDeadLetters", summary="List dead letters")
async def list_page(
    request: Request, response: Response, database: DatabaseDep, query: Annotated[DeadLetterQuery, Query()]
) -> DeadLetterPage:
    """Return dead jobs and dead messages that await a decision."""
    read = partial(repository.list_dead_letters, database, query)
    page, next_cursor = await page_by_id(request, response, query, read)
    return DeadLetterPage(items=page, next_cursor=next_cursor)


@router.post("/replay", operation_id="replayDeadLetters", summary="Replay all matching dead jobs", status_code=202)
async def replay_matching(matching: Replay, request: Request, database: DatabaseDep) -> Replayed | Confirmation:
    """Schedule matching dead jobs to run now, oldest first. A dry run only counts them by error.

    Dead messages are not included: replay each one by its id. `dry_run` and `q` require the scope `issues:read`.
    """
    if matching.dry_run or matching.q is not None:
        require_read("A dry run" if matching.dry_run else "A search for text")
    async with database.transaction():
        errors = await repository.count_dead_jobs(database, matching)
        replayed = 0 if matching.dry_run else await repository.replay_jobs(database, matching, REPLAY_MAX)
        if replayed:
            filters = matching.model_dump(mode="json", exclude_none=True, exclude={"dry_run"})
            if "q" in filters:
                filters["q"] = None  # the searched text may be that of an issue
            await record(database, "dead_letters.replayed", "matching", count=replayed, **filters)
    request.app.state.dispatcher.wake()
    if not may_read():
        return Confirmation(dry_run=False, replayed=replayed)
    matched = sum(error.count for error in errors)
    return Replayed(dry_run=matching.dry_run, matched=matched, replayed=replayed, errors=errors)


@router.get("/{letter_id:uuid}", operation_id="getDeadLetter", summary="Get a dead letter with every attempt")
async def get_one(letter_id: UUID, database: DatabaseDep) -> DeadLetterDetail:
    """Return a dead letter: each attempt's time, worker, error and traceback, or the raw message."""
    return require_found(await repository.get_dead_letter(database, letter_id), f"dead letter {letter_id}")


@router.post(
    "/{letter_id:uuid}/replay", operation_id="replayDeadLetter", summary="Replay a dead letter", status_code=202
)
async def replay(letter_id: UUID, request: Request, database: DatabaseDep) -> Decision | Confirmation:
    """Schedule a dead job to run now, or turn a dead message into a job. Idempotent."""
    async with _deciding(database, letter_id, "dead_letter.replayed"):
        await repository.replay_job(database, letter_id)
        if not await repository.replay_message(database, letter_id):
            detail = "The message cannot run: it has no task, no job id, or no queue that is consumed. Discard it."
            raise HTTPException(409, detail)
    request.app.state.dispatcher.wake()
    return await _confirm(database, letter_id)


@router.post("/{letter_id:uuid}/discard", operation_id="discardDeadLetter", summary="Discard a dead letter")
async def discard(letter_id: UUID, why: Discard, database: DatabaseDep) -> Decision | Confirmation:
    """Discard a dead letter and store the reason. It is no longer listed. Idempotent."""
    async with _deciding(database, letter_id, "dead_letter.discarded"):
        await repository.discard(database, letter_id, why.reason)
    return await _confirm(database, letter_id)


@asynccontextmanager
async def _deciding(database: Database, letter_id: UUID, action: str, **detail: str) -> AsyncIterator[None]:
    """Record the decision that the body makes, in the same transaction, if the state changes."""
    async with database.transaction():
        before = await _decision(database, letter_id)
        yield
        after = await _decision(database, letter_id)
        if after.state == before.state:
            return
        # The log line carries the id of the deciding request; the job's own is that of the original request.
        job = (await find_log_fields(database, [letter_id])).get(letter_id, {})
        original = job.pop("request_id", None)
        state = after.state
        logger.info(
            "dead_letter_decided", letter_id=str(letter_id), state=state, original_request_id=original, **job
        )
        await record(database, action, letter_id, **detail)


async def _confirm(database: Database, letter_id: UUID) -> Decision | Confirmation:
    return await _decision(database, letter_id) if may_read() else Confirmation(id=letter_id)


async def _decision(database: Database, letter_id: UUID) -> Decision:
    return require_found(await repository.get_decision(database, letter_id), f"dead letter {letter_id}")
