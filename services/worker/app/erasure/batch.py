"""Erases a batch of issues: first hides them, then erases them, in two transactions.

After the first commit, no attempt, import or training can read the text. Those that have read it before lose their
jobs, so they cannot write it.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine

from app.erasure import statements
from app.erasure.dead_messages import DeadMessages
from contracts import CONTRACT_VERSION
from contracts.ids import new_id
from contracts.ledger.decisions import SKIP_TRAININGS
from contracts.ledger.deletion import DELETE_ISSUES, SERIALIZE, STORE_TOMBSTONES
from contracts.ledger.queries import LOCK_UNFINISHED
from contracts.messages import Retrain


@dataclass(frozen=True, slots=True)
class Requester:
    """Who requested the erasure and when, for tombstones that do not exist yet."""

    actor: str
    actor_id: UUID | None = None
    requested_at: datetime | None = None
    """None: now."""


def erase_batch(engine: Engine, ids: list[UUID], requester: Requester, dead_messages: DeadMessages) -> int:
    """Erase issues, of which some may not exist; return the number of erased ones."""
    with engine.begin() as connection:
        _hide(connection, ids)
    messages = dead_messages.find(ids)
    with engine.begin() as connection:
        # The API locks in the same order: issues, jobs, tombstones.
        connection.execute(SERIALIZE.expression, {"issue_ids": sorted(ids)})
        # First, because a replay that it waits for creates a job.
        connection.execute(statements.DELETE_DEAD_MESSAGES, {"messages": messages})
        _erase_jobs(connection, ids)
        for trained in connection.execute(statements.FIND_TRAINED, {"ids": ids}).all():
            _delete_models(connection, trained._asdict())
        connection.execute(STORE_TOMBSTONES.expression, {"issue_ids": ids, **asdict(requester)})
        for statement in statements.ERASE_COPIES:
            connection.execute(statement, {"ids": ids})
        return connection.execute(statements.DELETE_ISSUES, {"ids": ids}).rowcount


def _hide(connection: Connection, ids: list[UUID]) -> None:
    """Delete the issues as a person does, so that webhooks and streams report it."""
    visible = sorted(connection.scalars(statements.FIND_VISIBLE, {"ids": ids}))
    if visible:
        for statement in (SERIALIZE, LOCK_UNFINISHED, DELETE_ISSUES):
            connection.execute(statement.expression, {"issue_ids": visible})


def _erase_jobs(connection: Connection, ids: list[UUID]) -> None:
    """End the issues' jobs and deliveries, and remove all but their ids."""
    jobs = list(connection.scalars(statements.LOCK_JOBS, {"ids": ids}))
    for statement in statements.ERASE_JOBS:
        connection.execute(statement, {"jobs": jobs})


def _delete_models(connection: Connection, trained: dict[str, Any]) -> None:
    """Delete the models of a project that may have been trained with the issues, and train without them."""
    # A training locks the pointers to the active models too.
    connection.execute(statements.LOCK_ACTIVE_MODELS, trained)
    skipped = connection.execute(SKIP_TRAININGS.expression, trained).rowcount
    for statement in statements.DETACH_MODELS:
        connection.execute(statement, trained)
    deleted = connection.execute(statements.DELETE_MODELS, trained).rowcount
    if skipped or deleted:
        message = Retrain(contract_version=CONTRACT_VERSION, job_id=new_id(), project=trained["project"])
        connection.execute(
            statements.ENQUEUE_TRAINING,
            {"job": message.job_id, "project": message.project, "message": json.dumps(message.as_json())},
        )
