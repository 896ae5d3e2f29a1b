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
class Cause:
    """Who requested the erasure and when, for tombstones that do not exist yet."""

    actor: str
    actor_id: UUID | None = None
    requested_at: datetime | None = None
    """None: now."""


def erase_batch(engine: Engine, ids: list[UUID], cause: Cause, dead_messages: DeadMessages) -> int:
    """Erase issues, of which some may not exist; return the number of erased ones."""
    with engine.begin() as connection:
        _hide(connection, ids)
    messages = dead_messages.find(ids)
    with engine.begin() as connection:
        jobs = _erase_jobs(connection, ids)
        connection.execute(statements.DELETE_DEAD_MESSAGES, {"messages": messages})
        subjects = [str(subject) for subject in (*ids, *jobs, *messages)]
        connection.execute(statements.ERASE_AUDIT_DETAILS, {"subjects": subjects})
        for learned in connection.execute(statements.FIND_LEARNED, {"ids": ids}).all():
            _forget(connection, learned._asdict())
        connection.execute(STORE_TOMBSTONES.expression, {"issue_ids": ids, **asdict(cause)})
        for statement in statements.ERASE_COPIES:
            connection.execute(statement, {"ids": ids})
        return connection.execute(statements.DELETE_ISSUES, {"ids": ids}).rowcount


def _hide(connection: Connection, ids: list[UUID]) -> None:
    """Delete the issues as a person does, so that webhooks and streams report it."""
    visible = sorted(connection.scalars(statements.FIND_VISIBLE, {"ids": ids}))
    if visible:
        for statement in (SERIALIZE, LOCK_UNFINISHED, DELETE_ISSUES):
            connection.execute(statement.expression, {"issue_ids": visible})


def _erase_jobs(connection: Connection, ids: list[UUID]) -> list[UUID]:
    """End the issues' jobs and deliveries, and keep only their ids; return them."""
    jobs = list(connection.scalars(statements.LOCK_JOBS, {"ids": ids}))
    for statement in statements.ERASE_JOBS:
        connection.execute(statement, {"jobs": jobs})
    return jobs


def _forget(connection: Connection, learned: dict[str, Any]) -> None:
    """Delete the models of a project that may have learned from the issues, and train without them."""
    skipped = connection.execute(SKIP_TRAININGS.expression, learned).rowcount
    for statement in statements.FORGET_MODELS:
        connection.execute(statement, learned)
    deleted = connection.execute(statements.DELETE_MODELS, learned).rowcount
    if skipped or deleted:
        message = Retrain(contract_version=CONTRACT_VERSION, job_id=new_id(), project=learned["project"])
        connection.execute(
            statements.ENQUEUE_TRAINING,
            {"job": message.job_id, "project": message.project, "message": json.dumps(message.as_json())},
        )
