"""The dead-letter endpoints. Replay and discard act on what is dead and leave all else as it is."""

from typing import Annotated
from uuid import UUID

import structlog
from fastapi import APIRouter, HTTPException, Query, Request, Response

from api.cursor import Cursor, encode_cursor, next_link
from api.database import Database, DatabaseDep
from api.dead_letters import repository
from api.dead_letters.schemas import DeadLetterDetail, DeadLetterPage, Decision, Discard
from api.dispatch.ledger import log_fields

router = APIRouter(prefix="/api/v1/dead-letters", tags=["dead letters"])

logger = structlog.get_logger(__name__)


@router.get("", operation_id="listDeadLetters", summary="List dead letters")
async def list_page(
    request: Request,
    response: Response,
    database: DatabaseDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[Cursor | None, Query(description="`next_cursor` of the page before")] = None,
) -> DeadLetterPage:
    """Answer dead jobs and dead messages that nobody has decided on."""
    letters = await repository.list_dead_letters(database, cursor, limit + 1)
    page = letters[:limit]
    next_cursor = encode_cursor(page[-1].id) if len(letters) > limit else None
    if next_cursor is not None:
        response.headers["Link"] = next_link(request, limit, next_cursor)
    return DeadLetterPage(items=page, next_cursor=next_cursor)


@router.get("/{letter_id}", operation_id="getDeadLetter", summary="Get a dead letter with every attempt")
async def get_one(letter_id: UUID, database: DatabaseDep) -> DeadLetterDetail:
    """Answer what is known of it: each attempt's time, worker, error and traceback, or the raw message."""
    letter = await repository.get_dead_letter(database, letter_id)
    if letter is None:
        raise _unknown(letter_id)
    return letter


@router.post(
    "/{letter_id}/replay", operation_id="replayDeadLetter", summary="Run a dead letter again", status_code=202
)
async def replay(letter_id: UUID, request: Request, database: DatabaseDep) -> Decision:
    """Make a dead job due now, or a dead message a job of the ledger; a second call changes nothing."""
    await repository.replay_job(database, letter_id)
    if not await repository.replay_message(database, letter_id):
        raise HTTPException(409, "The message names no task and job id, so that nothing can be run: discard it.")
    request.app.state.dispatcher.wake()
    return await _decision(database, letter_id)


@router.post("/{letter_id}/discard", operation_id="discardDeadLetter", summary="Give up a dead letter")
async def discard(letter_id: UUID, why: Discard, database: DatabaseDep) -> Decision:
    """Keep it with the reason, and list it no more; a second call changes nothing."""
    await repository.discard(database, letter_id, why.reason)
    return await _decision(database, letter_id)


async def _decision(database: Database, letter_id: UUID) -> Decision:
    decision = await repository.get_decision(database, letter_id)
    if decision is None:
        raise _unknown(letter_id)
    # The line's own request is the one that decided; the job keeps that which it goes back to.
    job = (await log_fields(database, [letter_id])).get(letter_id, {})
    original = job.pop("request_id", None)
    logger.info(
        "dead_letter_decided", letter_id=str(letter_id), state=decision.state, original_request_id=original, **job
    )
    return decision


def _unknown(letter_id: UUID) -> HTTPException:
    return HTTPException(404, f"There is no dead letter {letter_id}.")
