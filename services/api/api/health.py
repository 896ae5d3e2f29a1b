"""Health probes: `/livez` for the process, `/readyz` for its dependencies."""

from typing import Literal

import asyncpg
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from api.database import Database, DatabaseDep, DatabaseUnavailable
from api.dispatch.broker import Broker, BrokerUnavailable
from api.problems import RETRY_AFTER_S, problem
from contracts.network import LIVENESS_PATH, READINESS_PATH

router = APIRouter(tags=["health"])

# Read in a transaction, because the begin of a transaction checks whether the server accepts writes.
_STATE = """
SELECT to_regclass('job') IS NOT NULL AS is_migrated,
    current_setting('transaction_read_only')::boolean AS is_read_only
"""


class Live(BaseModel):
    """The process responds."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "live"}]})

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """State of the dependencies. Without the broker, issues are accepted and their enrichment waits."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "degraded", "database": "ok", "broker": "unavailable"}]}
    )

    status: Literal["ready", "degraded"]
    database: Literal["ok"]
    broker: Literal["ok", "unavailable"]


@router.get(LIVENESS_PATH, operation_id="live", summary="Check that the process responds")
async def live() -> Live:
    """Check nothing outside the process, because a restart does not help in an outage of a dependency."""
    return Live()


@router.get(
    READINESS_PATH, operation_id="ready", summary="Check that the API can serve requests", response_model=Ready
)
async def ready(request: Request, database: DatabaseDep) -> Ready | JSONResponse:
    """Check the database and the broker. Only the database determines the status code.

    A 503 response is a problem document with the extension members `database` and `broker`.
    """
    store = await _database(database)
    broker = await _broker(request.app.state.broker)
    if store != "ok":
        return problem(
            503,
            f"The database is {store}.",
            headers={"Retry-After": str(RETRY_AFTER_S)},
            extensions={"database": store, "broker": broker},
        )
    return Ready(status="ready" if broker == "ok" else "degraded", database=store, broker=broker)


async def _database(database: Database) -> Literal["ok", "unavailable", "read-only", "not migrated"]:
    try:
        async with database.transaction():
            row = await database.fetchrow(_STATE)
    except DatabaseUnavailable as error:
        return "read-only" if isinstance(error.__cause__, asyncpg.ReadOnlySQLTransactionError) else "unavailable"
    assert row is not None
    if row["is_read_only"]:
        return "read-only"
    return "ok" if row["is_migrated"] else "not migrated"


async def _broker(broker: Broker) -> Literal["ok", "unavailable"]:
    try:
        await broker.ping()
    except BrokerUnavailable:
        return "unavailable"
    return "ok"
