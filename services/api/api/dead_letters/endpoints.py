"""The dead-letter endpoints. Replay and discard act on what is dead and leave all else as it is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import APIRouter, HTTPException, Query, Request, Response

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

# Ids have their own pattern in the paths, so that `/replay` is no id of a wrong form.
router = APIRouter(prefix="/api/v1/dead-letters", tags=["dead letters"])

REPLAY_MAX = 10_000
"""Jobs that one call replays: what PostgreSQL does within the time of a request."""

logger = structlog.get_logger(__name__)


@router.get("", operation_id="listDeadLetters", summary="List dead letters")
async def list_page(
    request: Request, response: Response, database: DatabaseDep, query: Annotated[DeadLetterQuery, Query()]
) -> DeadLetterPage:
    """Answer dead jobs and dead messages that nobody has decided on."""
    read = partial(repository.list_dead_letters, database, query)
    page, next_cursor = await page_by_id(request, response, query, read)
    return DeadLetterPage(items=page, next_cursor=next_cursor)


@router.post(
    "/replay", operation_id="replayDeadLetters", summary="Run all dead jobs again that match", status_code=202
)
async def replay_matching(matching: Replay, request: Request, database: DatabaseDep) -> Replayed:
    """Make dead jobs due now, the oldest first, or only count them by error; messages are replayed one by one."""
    async with database.transaction():
        errors = await repository.count_dead_jobs(database, matching)
        replayed = 0 if matching.dry_run else await repository.replay_jobs(database, matching, REPLAY_MAX)
        if replayed:
            asked = matching.model_dump(mode="json", exclude_none=True, exclude={"dry_run"})
            await record(database, "dead_letters.replayed", "matching", count=replayed, **asked)
    request.app.state.dispatcher.wake()
    matched = sum(error.count for error in errors)
    return Replayed(dry_run=matching.dry_run, matched=matched, replayed=replayed, errors=errors)


@router.get("/{letter_id:uuid}", operation_id="getDeadLetter", summary="Get a dead letter with every attempt")
async def get_one(letter_id: UUID, database: DatabaseDep) -> DeadLetterDetail:
    """Answer what is known of it: each attempt's time, worker, error and traceback, or the raw message."""
    return require_found(await repository.get_dead_letter(database, letter_id), f"dead letter {letter_id}")


@router.post(
    "/{letter_id:uuid}/replay", operation_id="replayDeadLetter", summary="Run a dead letter again", status_code=202
)
async def replay(letter_id: UUID, request: Request, database: DatabaseDep) -> Decision:
    """Make a dead job due now, or a dead message a job of the ledger; a second call changes nothing."""
    async with _deciding(database, letter_id, "dead_letter.replayed"):
        await repository.replay_job(database, letter_id)
        if not await repository.replay_message(database, letter_id):
            detail = "It names no task and job id, or no queue that is consumed, and cannot be run: discard it."
            raise HTTPException(409, detail)
    request.app.state.dispatcher.wake()
    return await _decision(database, letter_id)


@router.post("/{letter_id:uuid}/discard", operation_id="discardDeadLetter", summary="Give up a dead letter")
async def discard(letter_id: UUID, why: Discard, database: DatabaseDep) -> Decision:
    """Keep it with the reason, and list it no more; a second call changes nothing."""
    async with _deciding(database, letter_id, "dead_letter.discarded", reason=why.reason):
        await repository.discard(database, letter_id, why.reason)
    return await _decision(database, letter_id)


@asynccontextmanager
async def _deciding(database: Database, letter_id: UUID, action: str, **detail: str) -> AsyncIterator[None]:
    """Record what the body decides, in one transaction with it; nothing where there was nothing to decide."""
    async with database.transaction():
        before = await _decision(database, letter_id)
        yield
        after = await _decision(database, letter_id)
        if after.state == before.state:
            return
        # The line's own request is the one that decided; the job keeps that which it goes back to.
        job = (await find_log_fields(database, [letter_id])).get(letter_id, {})
        original = job.pop("request_id", None)
        state = after.state
        logger.info(
            "dead_letter_decided", letter_id=str(letter_id), state=state, original_request_id=original, **job
        )
        await record(database, action, letter_id, **detail)


async def _decision(database: Database, letter_id: UUID) -> Decision:
    return require_found(await repository.get_decision(database, letter_id), f"dead letter {letter_id}")
