"""Probes: `/livez` says that the process answers, `/readyz` that requests can be served."""

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from api.database import UNAVAILABLE, Pool, PoolDep
from api.dispatch.broker import Broker, BrokerUnavailable
from contracts.network import LIVENESS_PATH, READINESS_PATH

router = APIRouter(tags=["health"])


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """What requests need. Without the broker issues are accepted, and their enrichment waits."""

    status: Literal["ready", "degraded", "unavailable"]
    database: Literal["ok", "unavailable", "not migrated"]
    broker: Literal["ok", "unavailable"]


@router.get(LIVENESS_PATH, operation_id="live", summary="Whether the process answers")
async def live() -> Live:
    """Look at nothing outside the process: an outage elsewhere is no reason to restart it."""
    return Live()


@router.get(
    READINESS_PATH,
    operation_id="ready",
    summary="Whether requests can be served",
    responses={503: {"model": Ready, "description": "The database cannot be used"}},
)
async def ready(request: Request, response: Response, pool: PoolDep) -> Ready:
    """Look at the database and the broker; only the database decides the status code."""
    database = await _database(pool)
    broker = await _broker(request.app.state.broker)
    if database != "ok":
        response.status_code = 503
        return Ready(status="unavailable", database=database, broker=broker)
    return Ready(status="ready" if broker == "ok" else "degraded", database=database, broker=broker)


async def _database(pool: Pool) -> Literal["ok", "unavailable", "not migrated"]:
    try:
        migrated = await pool.fetchval("SELECT to_regclass('job') IS NOT NULL")
    except UNAVAILABLE:
        return "unavailable"
    return "ok" if migrated else "not migrated"


async def _broker(broker: Broker) -> Literal["ok", "unavailable"]:
    try:
        await broker.ping()
    except BrokerUnavailable:
        return "unavailable"
    return "ok"
