"""Add access control to the application and to its OpenAPI document."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.middleware.cors import CORSMiddleware

from api.access.credentials import Credentials
from api.access.headers import SecurityHeaders
from api.access.ignored_proxies import IgnoredProxies
from api.access.limiter import Limiter
from api.access.middleware import Access, Rules
from api.access.open_paths import is_open
from api.access.scopes import required_scope
from api.access.session_cookie import NAME as SESSION_COOKIE
from api.database import Database
from api.settings import ApiSettings
from contracts.states import Scope

logger = structlog.get_logger(__name__)

_METHODS = ["DELETE", "GET", "PATCH", "POST", "PUT"]
_REQUEST_HEADERS = [
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
]
_RESPONSE_HEADERS = ["ETag", "Link", "Location", "RateLimit", "RateLimit-Policy", "Retry-After"]

_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "itk_...",
        "description": "An API token, created by an admin with `POST /api/v1/tokens`. Scopes: " + ", ".join(Scope),
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": SESSION_COOKIE,
        "description": "The session of the page (`POST /api/v1/session`). Cross-origin changes are rejected. "
        "Over https the name begins with `__Host-`",
    },
}
_DENIALS = {
    "401": "Authentication failed; see `WWW-Authenticate` and `detail`",
    "403": "Authorization failed: the token lacks the scope, or the request is cross-origin",
    "429": "Too many requests per minute; retry after `Retry-After` seconds",
}


def install(app: FastAPI, settings: ApiSettings) -> None:
    """Add authentication and rate limits. Middleware added later also processes rejected requests."""
    limits = settings.limits
    app.add_middleware(Access, Rules(settings.auth, settings.cors_origins, *limits))


def install_headers(app: FastAPI, settings: ApiSettings) -> None:
    """Add security and CORS headers; add them outside of every middleware that responds."""
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=_METHODS,
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_RESPONSE_HEADERS,
        )
    app.add_middleware(SecurityHeaders)


@asynccontextmanager
async def open_access(app: FastAPI, settings: ApiSettings, database: Database) -> AsyncIterator[None]:
    """Set up the credentials and rate limits while the application runs."""
    admin_token = settings.admin_token
    if settings.auth == "on" and admin_token is None:
        logger.info("admin_token_omitted", meaning="only existing tokens can authenticate")
    app.state.credentials = Credentials(database, None if admin_token is None else admin_token.get_secret_value())
    app.state.ignored_proxies = IgnoredProxies()
    app.state.limiter = limiter = Limiter(settings.celery_broker_url)
    async with AsyncExitStack() as stack:
        if any(settings.limits):
            await stack.enter_async_context(limiter.sharing())
        yield


def describe(app: FastAPI, document: dict[str, Any]) -> None:
    """Document the scope of each operation."""
    document["components"]["securitySchemes"] = _SCHEMES
    content = next(iter(document["paths"].values()))
    content = next(iter(content.values()))["responses"]["default"]["content"]
    for context in iter_route_contexts(app.routes):
        for method in context.methods or ():
            operation = document["paths"].get(context.path_format, {}).get(method.lower())
            if operation is None:
                continue
            if is_open(method, str(context.path)):
                operation["security"] = []
                continue
            scope = required_scope(context.original_route, method)
            scopes = [] if scope is None else [str(scope)]
            operation["security"] = [{scheme: scopes} for scheme in _SCHEMES]
            for status, description in _DENIALS.items():
                operation["responses"].setdefault(status, {"description": description, "content": content})
