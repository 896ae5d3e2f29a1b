"""Authenticate each request and enforce the rate limits, before anything else handles it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access.client_address import budget_key, client_address
from api.access.credentials import Credentials, InvalidCredentials
from api.access.cross_origin import explain_cross_origin
from api.access.limiter import Limiter, RateLimitResult
from api.access.loopback import NEXT_STEP, explain_remote_request
from api.access.open_paths import LOGIN_PATH, SAFE_METHODS, is_open
from api.access.principal import ANONYMOUS, UNAUTHENTICATED, Principal, set_principal
from api.access.session_cookie import read_cookie
from api.asgi import on_start
from api.problems import problem

ALL_FAILURES = "failures"
"""Key of the budget of all failed authentications, which bounds guesses from many addresses."""
ALL_FAILURES_FACTOR = 10
"""This budget as a multiple of the budget of one address."""
REALM = 'Bearer realm="issuetracker"'
NO_TOKEN = (
    "The request has no token. Send `Authorization: Bearer itk_...`. An admin creates tokens with "
    "`issuetracker tokens create`; the first admin uses the ADMIN_TOKEN of the API's settings."
)


logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """Access settings."""

    auth: str
    origins: Collection[str]
    per_token: int
    """Requests a minute; 0: no limit."""
    per_address: int


class AccessDenied(Exception):
    """The request is denied; `response` is the response."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class Access:
    """Serves a request only if its network origin, page, credentials and rate are allowed."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            # A dictionary, because Headers searches all headers at each lookup.
            rate = await self._admit(scope, dict(Headers(scope=scope).items()))
        except AccessDenied as denial:
            await denial.response(scope, receive, send)
        else:
            await self._app(scope, receive, send if rate is None else _with_rate_limit_headers(rate, send))

    async def _admit(self, scope: Scope, headers: Mapping[str, str]) -> RateLimitResult | None:
        """Authenticate the request and set its principal; return its rate limit result or raise AccessDenied."""
        method, path = scope.get("method", "GET"), scope["path"]
        if self._rules.auth == "on":
            scope["app"].state.ignored_proxies.observe(scope, headers)
        # The login endpoint ignores this header.
        has_bearer = self._rules.auth == "on" and "authorization" in headers and not is_open(method, path)
        if method not in SAFE_METHODS and not has_bearer:
            reason = explain_cross_origin(headers, self._rules.origins)
            if reason is not None:
                raise AccessDenied(
                    problem(403, f"The request is cross-origin: {reason}. Allow the page in CORS_ORIGINS.")
                )
        if self._rules.auth != "on":
            self._admit_anonymous(scope, headers)
        elif not is_open(method, path):
            return await self._admit_holder(scope, headers)
        else:
            set_principal(UNAUTHENTICATED)
        if path == LOGIN_PATH or self._rules.auth != "on":
            return self._count_address(scope)
        return None

    def _admit_anonymous(self, scope: Scope, headers: Mapping[str, str]) -> None:
        reason = explain_remote_request(scope, headers) if self._rules.auth == "off" else None
        if reason is not None:
            raise AccessDenied(problem(403, f"AUTH=off serves only this machine, but {reason}. {NEXT_STEP}."))
        set_principal(ANONYMOUS)

    async def _admit_holder(self, scope: Scope, headers: Mapping[str, str]) -> RateLimitResult | None:
        try:
            principal = await authenticate(scope, headers)
        except InvalidCredentials as error:
            # Only failures count by address, so that a faulty script does not block other users.
            self._count_address(scope)
            self._count(scope, ALL_FAILURES, self._rules.per_address * ALL_FAILURES_FACTOR)
            logger.warning("authentication_failed", address=client_address(scope))
            raise AccessDenied(_build_401(str(error))) from None
        set_principal(principal)
        return self._count(scope, f"token:{principal.key}", self._rules.per_token)

    def _count_address(self, scope: Scope) -> RateLimitResult | None:
        return self._count(scope, f"address:{budget_key(client_address(scope))}", self._rules.per_address)

    def _count(self, scope: Scope, key: str, limit: int) -> RateLimitResult | None:
        if not limit:
            return None
        limiter: Limiter = scope["app"].state.limiter
        rate = limiter.hit(key, limit)
        if not rate.is_allowed:
            detail = f"More than {limit} requests per minute. Nothing was stored. Try again in {rate.wait_s} s."
            response = problem(429, detail, headers={"Retry-After": str(rate.wait_s)})
            _set_rate_limit_headers(rate, response.headers)
            raise AccessDenied(response)
        return rate


async def authenticate(scope: Scope, headers: Mapping[str, str]) -> Principal:
    """Return the principal of a request's token or cookie; raise InvalidCredentials."""
    credentials: Credentials = scope["app"].state.credentials
    authorization = headers.get("authorization")
    if authorization is not None:
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise InvalidCredentials(NO_TOKEN)
        return await credentials.authenticate_token(secret.strip())
    cookie = read_cookie(scope)
    if cookie is None:
        raise InvalidCredentials(NO_TOKEN)
    return await credentials.authenticate_session(cookie)


def _build_401(detail: str) -> Response:
    challenge = REALM if detail == NO_TOKEN else f'{REALM}, error="invalid_token"'
    return problem(401, detail, headers={"WWW-Authenticate": challenge})


def _with_rate_limit_headers(rate: RateLimitResult, send: Send) -> Send:
    return on_start(send, lambda message: _set_rate_limit_headers(rate, MutableHeaders(scope=message)))


def _set_rate_limit_headers(rate: RateLimitResult, headers: MutableHeaders) -> None:
    """Set the headers of draft-ietf-httpapi-ratelimit-headers: remaining requests, and seconds until reset."""
    headers["RateLimit-Policy"] = f'"minute";q={rate.limit};w=60'
    headers["RateLimit"] = f'"minute";r={rate.remaining};t={rate.wait_s}'
