"""Builds the ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from api import health, problems
from api.body_limit import BodyLimit
from api.database import open_database
from api.dead_letters import endpoints as dead_letters
from api.diagnosis import endpoints as diagnosis
from api.dispatch.broker import Broker
from api.dispatch.dispatcher import Dispatcher
from api.enrichment import endpoints as enrichment
from api.issues import endpoints as issues
from api.metrics import endpoint as metrics
from api.metrics.build import tell_build
from api.metrics.http import RequestMetrics, prepare
from api.models import endpoints as models
from api.settings import ApiSettings
from api.similar import endpoints as similar
from contracts import VERSION
from contracts.logs import configure_logging
from contracts.settings import load


def create_app(settings: ApiSettings | None = None) -> FastAPI:
    """Return the application; reads its settings from the environment unless they are given."""
    settings = settings or load(ApiSettings)
    tell_build("api")
    configure_logging("api", settings.log_level, settings.log_format, take_over=("uvicorn", "uvicorn.access"))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_database(settings) as database, Broker(settings.celery_broker_url) as broker:
            dispatcher = Dispatcher(database, broker, settings)
            app.state.settings, app.state.database, app.state.broker = settings, database, broker
            app.state.dispatcher = dispatcher
            async with dispatcher.running():
                yield

    app = FastAPI(
        title="IssueTracker",
        version=VERSION,
        description="Issue intake with background enrichment. Every error is `application/problem+json`.",
        lifespan=lifespan,
        responses=problems.OPENAPI_RESPONSES,
    )
    problems.install(app)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(RequestMetrics)
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.include_router(issues.router)
    app.include_router(enrichment.router)
    app.include_router(models.router)
    app.include_router(similar.router)
    app.include_router(dead_letters.router)
    app.include_router(diagnosis.router)
    prepare(app.routes)
    return app
