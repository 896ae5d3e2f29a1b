"""Builds the ASGI application."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from api import health, metrics, problems
from api.body_limit import BodyLimit
from api.database import open_database
from api.dead_letters import endpoints as dead_letters
from api.dispatch.broker import Broker
from api.dispatch.dispatcher import Dispatcher
from api.enrichment import endpoints as enrichment
from api.issues import endpoints as issues
from api.models import endpoints as models
from api.request_log import RequestLog, log_lost_exception
from api.settings import ApiSettings
from api.similar import endpoints as similar
from api.traces import telemetry
from contracts import tracing
from contracts.logs import configure_logging
from contracts.settings import load


def create_app(settings: ApiSettings | None = None) -> FastAPI:
    """Return the application; reads its settings from the environment unless they are given."""
    settings = settings or load(ApiSettings)
    configure_logging("api", settings.log_level, settings.log_format, take_over=("uvicorn", "uvicorn.access"))
    # Its lines have the whole path and query; without a handler to reach it writes none. See api.request_log.
    logging.getLogger("uvicorn.access").propagate = False
    traces = tracing.start("api", settings.otel_exporter_otlp_endpoint)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_exception_handler(log_lost_exception)
        async with open_database(settings) as database, Broker(settings.celery_broker_url) as broker:
            dispatcher = Dispatcher(database, broker, settings)
            app.state.settings, app.state.database, app.state.broker = settings, database, broker
            app.state.dispatcher = dispatcher
            async with dispatcher.running():
                yield
        await asyncio.to_thread(tracing.stop)

    app = FastAPI(
        title="IssueTracker",
        version="0.1.0",
        description="Issue intake with background enrichment. Every error is `application/problem+json`.",
        lifespan=lifespan,
        responses=problems.OPENAPI_RESPONSES,
        telemetry=telemetry(traces),
    )
    problems.install(app)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(metrics.RequestMetrics)
    app.add_middleware(RequestLog)
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.include_router(issues.router)
    app.include_router(enrichment.router)
    app.include_router(models.router)
    app.include_router(similar.router)
    app.include_router(dead_letters.router)
    return app
