"""The diagnosis endpoint. A person reads it through `issuetracker doctor`, which judges what it sees."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TypeVar

import asyncpg
import structlog
from fastapi import APIRouter, Request
from pydantic import ValidationError

from api.database import DatabaseDep, DatabaseUnavailable
from api.diagnosis.broker import broker_state, worker_states
from api.diagnosis.database import database_state, jobs_state, migrations_state
from api.diagnosis.schemas import Diagnosis
from api.dispatch.broker import Broker, BrokerUnavailable
from contracts import CONTRACT_VERSION

LOOK_TIMEOUT_S = 5

State = TypeVar("State")

logger = structlog.get_logger(__name__)
router = APIRouter(prefix="/api/v1/diagnosis", tags=["health"])


@router.get("", operation_id="getDiagnosis", summary="Look at all that the service depends on")
async def diagnose(request: Request, database: DatabaseDep) -> Diagnosis:
    """Answer 200 whatever is wrong: each part is looked at on its own, for a few seconds at most."""
    broker: Broker = request.app.state.broker
    errors: dict[str, str] = {}

    async def look(part: str, state: Awaitable[State]) -> State | None:
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                return await state
        except (DatabaseUnavailable, BrokerUnavailable) as error:
            errors[part] = str(error)
        except (asyncpg.PostgresError, TimeoutError, ValidationError) as error:
            errors[part] = " ".join(f"{type(error).__name__}: {error}".split())
        return None

    found = await asyncio.gather(
        look("database", database_state(database)),
        look("migrations", migrations_state(database)),
        look("jobs", jobs_state(database)),
        look("broker", broker.ask(broker_state)),
        look("workers", broker.ask(worker_states)),
    )
    parts = dict(zip(("database", "migrations", "jobs", "broker", "workers"), found, strict=True))
    return Diagnosis.model_validate(
        {
            **parts,
            "version": request.app.version,
            "contract_version": CONTRACT_VERSION,
            "checked_at": datetime.now(UTC),
            "errors": errors,
        }
    )
