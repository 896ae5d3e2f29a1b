"""Builds the ASGI application."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import Depends, FastAPI

from api import health, idempotency, metrics, problems
from api.access import install as access
from api.access.loopback import refuse_open_listener
from api.access.scopes import by_method
from api.audit import endpoints as audit
from api.body_limit import BodyLimit
from api.database import open_database
from api.dead_letters import endpoints as dead_letters
from api.dispatch.broker import Broker
from api.dispatch.dispatcher import Dispatcher
from api.enrichment import endpoints as enrichment
from api.issues import endpoints as issues
from api.models import endpoints as models
from api.runs import endpoints as runs
from api.sessions import endpoints as sessions
from api.settings import ApiSettings
from api.similar import endpoints as similar
from api.suggestions import endpoints as suggestions
from api.tags import endpoints as tags
from api.tokens import endpoints as tokens
from contracts.logs import configure_logging
from contracts.settings import load


def create_app(settings: ApiSettings | None = None) -> FastAPI:
    """Return the application; reads its settings from the environment unless they are given."""
    settings = settings or load(ApiSettings)
    if settings.auth == "off":
        refuse_open_listener(sys.argv)
    configure_logging("api", settings.log_level, settings.log_format, take_over=("uvicorn", "uvicorn.access"))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_database(settings) as database, Broker(settings.celery_broker_url) as broker:
            dispatcher = Dispatcher(database, broker, settings)
            app.state.settings, app.state.database, app.state.broker = settings, database, broker
            app.state.dispatcher = dispatcher
            async with access.open_access(app, settings, database), dispatcher.running():
                yield

    app = FastAPI(
        title="IssueTracker",
        version="0.1.0",
        description="Issue intake with background enrichment. Every error is `application/problem+json`.",
        lifespan=lifespan,
        responses=problems.OPENAPI_RESPONSES,
        # In this order: what decides whether a request is allowed belongs before it.
        dependencies=[Depends(by_method), Depends(idempotency.answer_once)],
    )
    # From the inside out: what refuses a request belongs outside of what works on it.
    idempotency.install(app)
    access.install(app, settings)
    problems.install(app, idempotency.describe, partial(access.describe, app))
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    access.install_headers(app, settings)
    app.add_middleware(metrics.RequestMetrics)
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.include_router(issues.router)
    app.include_router(enrichment.router)
    app.include_router(runs.router)
    app.include_router(suggestions.router)
    app.include_router(tags.router)
    app.include_router(models.router)
    app.include_router(similar.router)
    app.include_router(dead_letters.router)
    app.include_router(tokens.router)
    app.include_router(sessions.router)
    app.include_router(audit.router)
    return app
