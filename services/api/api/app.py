"""Build the ASGI application."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import Depends, FastAPI, Request

from api import health, idempotency, problems
from api.access import install as access
from api.access.loopback import require_loopback_listener
from api.access.open_paths import LOGIN_PATH
from api.access.scopes import require_scope_by_method
from api.audit import endpoints as audit
from api.audit.sealing import AuditSealer
from api.body_limit import BodyLimit
from api.connections import bounded
from api.database import open_database
from api.dead_letters import endpoints as dead_letters
from api.diagnosis import endpoints as diagnosis
from api.dispatch.broker import Broker
from api.dispatch.dispatcher import Dispatcher
from api.enrichment import endpoints as enrichment
from api.erasures import endpoints as erasures
from api.events import endpoints as events
from api.events.hub import Hub
from api.gzip_bodies import GzipBodies
from api.head import HeadRequests
from api.imports import endpoints as imports
from api.imports.importer import Importer
from api.issues import endpoints as issues
from api.issues.batcher import IssueBatcher
from api.json_shape import explain_excess
from api.metrics import endpoint as metrics
from api.metrics.build import set_build_info
from api.metrics.http import RequestMetrics, prepare
from api.models import endpoints as models
from api.operations import endpoints as operations
from api.page import endpoints as page
from api.pauses import endpoints as pauses
from api.queues import endpoints as queues
from api.queues.monitor import QueueMonitor
from api.repetition import RepeatAfterFailover
from api.request_log import RequestLog, log_lost_exception
from api.request_shape import RequestShape
from api.runs import endpoints as runs
from api.schedules import endpoints as schedules
from api.sessions import endpoints as sessions
from api.sessions import own as own_sessions
from api.settings import MAX_BODY_BYTES, ApiSettings
from api.similar import endpoints as similar
from api.stop_signal import on_stop_signal
from api.suggestions import endpoints as suggestions
from api.systemd import report_state
from api.tags import endpoints as tags
from api.tokens import endpoints as tokens
from api.traces import telemetry
from api.webhooks import endpoints as webhooks
from contracts import VERSION, tracing
from contracts.logs import configure_logging
from contracts.settings import load

_ROUTED = (
    health,
    metrics,
    issues,
    enrichment,
    runs,
    erasures,
    suggestions,
    tags,
    models,
    similar,
    dead_letters,
    imports,
    operations,
    tokens,
    sessions,
    own_sessions,
    audit,
    diagnosis,
    queues,
    pauses,
    schedules,
    events,
    webhooks,
)


def _body_limits(settings: ApiSettings) -> dict[str, int]:
    # No credential has been checked before a login.
    return {imports.PATH: settings.import_max_bytes, LOGIN_PATH: sessions.MAX_BODY_BYTES}


async def _authorize(request: Request) -> None:
    # One dependency, because each one adds overhead. Authorization comes before the look-up of the key.
    await require_scope_by_method(request)
    _require_bounded_body(request)
    await idempotency.process_once(request)


def _require_bounded_body(request: Request) -> None:
    """Raise a 422 error before the validation of a body with too many values."""
    # Starlette stores the parsed body here. FastAPI parses it before the dependencies, and validates it after.
    excess = explain_excess(getattr(request, "_json", None))
    if excess is not None:
        raise problems.invalid(("body",), "too_many_values", excess)


def create_app(settings: ApiSettings | None = None) -> FastAPI:
    """Return the application. Without `settings`, read them from the environment."""
    settings = settings or load(ApiSettings)
    if settings.auth == "off":
        require_loopback_listener(sys.argv)
    set_build_info("api")
    configure_logging("api", settings.log_level, settings.log_format, take_over=("uvicorn", "uvicorn.access"))
    # uvicorn's access log has the full path and query, so it is off. api.request_log replaces it.
    logging.getLogger("uvicorn.access").propagate = False
    traces = tracing.start("api", settings.otel_exporter_otlp_endpoint)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_exception_handler(log_lost_exception)
        async with open_database(settings) as database, Broker(settings.celery_broker_url) as broker:
            dispatcher = Dispatcher(database, broker, settings)
            app.state.settings, app.state.database, app.state.broker = settings, database, broker
            app.state.dispatcher = dispatcher
            app.state.issue_batcher = IssueBatcher(database)
            app.state.queues = QueueMonitor(settings, database, broker, dispatcher.recent_limits)
            app.state.hub = hub = Hub(settings, database, app.state.queues)
            app.state.importer = importer = Importer(database, settings, dispatcher.wake)
            async with (
                bounded(settings),
                access.open_access(app, settings, database),
                dispatcher.running(),
                importer.running(),
                AuditSealer(database).running(),
                hub.running(),
                report_state(),
            ):
                with on_stop_signal(hub.close):
                    yield
        await asyncio.to_thread(tracing.stop)

    app = FastAPI(
        title="IssueTracker",
        version=VERSION,
        # The pages of FastAPI load scripts from a CDN; api.page serves its own. api.problems serves the document.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        description="Issue tracking with background enrichment. Every error is `application/problem+json`.",
        lifespan=lifespan,
        responses=problems.OPENAPI_RESPONSES,
        dependencies=[Depends(_authorize)],
        telemetry=telemetry(traces),
    )
    # From the innermost to the outermost middleware: checks run before the work.
    app.add_middleware(HeadRequests)
    idempotency.install(app)
    app.add_middleware(RepeatAfterFailover)
    access.install(app, settings)
    problems.install(app, idempotency.describe, partial(access.describe, app))
    for layer in (GzipBodies, BodyLimit):  # which bounds the packed body
        app.add_middleware(layer, max_bytes=MAX_BODY_BYTES, of_path=_body_limits(settings))
    app.add_middleware(RequestShape, head_max_bytes=settings.head_max_bytes)
    access.install_headers(app, settings)
    app.add_middleware(RequestMetrics)
    app.add_middleware(RequestLog)
    for module in _ROUTED:
        app.include_router(module.router)
    page.install(app)
    prepare(app.routes)
    return app
