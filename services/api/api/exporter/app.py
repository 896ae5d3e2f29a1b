"""The exporter's ASGI application: `/metrics` and `/livez`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.connections import bounded
from api.exporter import broker, database
from api.exporter.families import Snapshot
from api.exporter.settings import ExporterSettings
from api.metrics.build import BUILD, set_build_info
from api.systemd import report_state
from contracts.logs import configure_logging
from contracts.network import LIVENESS_PATH, METRICS_PATH


def create_app(settings: ExporterSettings) -> Starlette:
    """Return the ASGI application."""
    configure_logging("exporter", settings.log_level, settings.log_format, take_over=("uvicorn",))

    own = CollectorRegistry()
    own.register(BUILD)
    ProcessCollector(registry=own)
    set_build_info("exporter")

    async def metrics(_request: Request) -> Response:
        in_database, in_broker = await asyncio.gather(
            database.read(settings.database_url, settings.project_running_max),
            broker.read(settings.celery_broker_url),
        )
        found = CollectorRegistry()
        found.register(Snapshot(in_database, in_broker))
        return Response(
            generate_latest(own) + generate_latest(found), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "live"})

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with bounded(settings), report_state():
            yield

    return Starlette(routes=[Route(METRICS_PATH, metrics), Route(LIVENESS_PATH, live)], lifespan=lifespan)
