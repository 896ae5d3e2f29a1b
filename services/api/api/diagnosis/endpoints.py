"""The diagnosis endpoint. `issuetracker doctor` evaluates its response."""

import asyncio
import os
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import asyncpg
import structlog
from fastapi import APIRouter, Request
from pydantic import ValidationError

from api.access.scopes import ADMIN
from api.database import DatabaseDep, DatabaseUnavailable
from api.diagnosis.broker import read_broker_state, read_worker_states
from api.diagnosis.database import read_database_state, read_jobs_state, read_migrations_state
from api.diagnosis.schemas import Diagnosis
from api.dispatch.broker import Broker, BrokerUnavailable
from api.webhooks.repository import count_clear_secrets
from contracts import CONTRACT_VERSION

if TYPE_CHECKING:
    from api.dispatch.dispatcher import Dispatcher
    from api.settings import ApiSettings

PART_TIMEOUT_S = 5
KUBERNETES_VARIABLE = "KUBERNETES_SERVICE_HOST"
"""Kubernetes sets this variable in each container."""

State = TypeVar("State")

logger = structlog.get_logger(__name__)
router = APIRouter(prefix="/api/v1/diagnosis", tags=["health"], dependencies=[ADMIN])


@router.get("", operation_id="getDiagnosis", summary="Get the state of every dependency")
async def diagnose(request: Request, database: DatabaseDep) -> Diagnosis:
    """Return the state of each dependency, checked separately within 5 seconds. The status is always 200."""
    broker: Broker = request.app.state.broker
    settings: ApiSettings = request.app.state.settings
    dispatcher: Dispatcher = request.app.state.dispatcher
    errors: dict[str, str] = {}

    async def measure(part: str, state: Awaitable[State]) -> State | None:
        try:
            async with asyncio.timeout(PART_TIMEOUT_S):
                return await state
        except (DatabaseUnavailable, BrokerUnavailable) as error:
            errors[part] = str(error)
        except (asyncpg.PostgresError, TimeoutError, ValidationError) as error:
            errors[part] = " ".join(f"{type(error).__name__}: {error}".split())
        return None

    found = await asyncio.gather(
        measure("database", read_database_state(database)),
        measure("migrations", read_migrations_state(database)),
        measure("jobs", read_jobs_state(database, settings.project_running_max, dispatcher.recent_limits.find())),
        measure("broker", broker.query(read_broker_state)),
        measure("workers", broker.query(read_worker_states)),
        measure("clear_webhook_secrets", count_clear_secrets(database)),
    )
    names = ("database", "migrations", "jobs", "broker", "workers", "clear_webhook_secrets")
    parts = dict(zip(names, found, strict=True))
    return Diagnosis.model_validate(
        {
            **parts,
            "version": request.app.version,
            "contract_version": CONTRACT_VERSION,
            "checked_at": datetime.now(UTC),
            "is_in_kubernetes": KUBERNETES_VARIABLE in os.environ,
            "ignored_proxy": request.app.state.ignored_proxies.address,
            "errors": errors,
        }
    )
