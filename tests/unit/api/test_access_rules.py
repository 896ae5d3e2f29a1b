"""Access rules: each route requires a scope unless it is listed as open. Then unit tests of the parts."""

import time
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts

from api.access import secrets
from api.access.cross_origin import explain_cross_origin
from api.access.limiter import WINDOW_S, Limiter
from api.access.loopback import explain_remote_request, require_loopback_listener
from api.access.open_paths import is_open
from api.access.scopes import required_scope
from api.app import create_app
from api.settings import ApiSettings
from contracts.states import Scope
from tests.support.routes import endpoints

OPEN = {
    "GET /livez",
    "GET /readyz",
    "GET /metrics",
    "GET /docs",
    "GET /redoc",
    "GET /openapi.json",
    "POST /api/v1/session",
    "DELETE /api/v1/session",
}
"""Endpoints that need no token. Document each addition in docs/decisions/0009-access.md."""
ADMIN_ONLY = ("/api/v1/tokens", "/api/v1/audit", "/api/v1/pauses", "/api/v1/schedules")
PAGE = {"GET /", "GET /static", "GET /static/vendor"}


def test_open_endpoints_equal_expected_list() -> None:
    opened = {str(endpoint) for endpoint in endpoints() if is_open(endpoint.method, endpoint.path)}

    assert opened - PAGE == OPEN


def test_non_api_routes_are_in_list_of_open_endpoints() -> None:
    """Only API routes run the dependency that requires a scope. A mounted application does not."""
    others = {str(endpoint) for endpoint in endpoints() if not endpoint.is_api_route}

    assert others <= OPEN | PAGE


def test_closed_route_requires_scope_of_its_method_or_admin() -> None:
    for context in iter_route_contexts(create_app(ApiSettings()).routes):
        for method in context.methods or ():
            path = str(context.path)
            if is_open(method, path) or path in {
                "/api/v1/session",
                "/api/v1/sessions",
                "/api/v1/sessions/{session_id}",
            }:
                continue
            scope = required_scope(context.original_route, method)
            if path.startswith(ADMIN_ONLY):
                assert scope is Scope.ADMIN, path
            elif path.startswith("/api/v1/erasures"):
                assert scope is Scope.ISSUES_ERASE, path
            else:
                by_method = Scope.ISSUES_READ if method in {"GET", "HEAD"} else Scope.ISSUES_WRITE
                expected = Scope.ISSUES_INGEST if (method, path) == ("POST", "/api/v1/issues") else by_method
                assert scope in {expected, Scope.ADMIN}, path


def test_openapi_operations_state_required_scope() -> None:
    document = create_app(ApiSettings()).openapi()

    assert set(document["components"]["securitySchemes"]) == {"token", "session"}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if is_open(method.upper(), path):
                assert operation["security"] == []
            else:
                assert [set(requirement) for requirement in operation["security"]] == [{"token"}, {"session"}]
                assert {"401", "403", "429"} <= set(operation["responses"])
    assert document["paths"]["/api/v1/issues"]["post"]["security"][0] == {"token": ["issues:ingest"]}
    assert document["paths"]["/api/v1/audit"]["get"]["security"][0] == {"token": ["admin"]}


def test_token_format_check_rejects_malformed_tokens() -> None:
    token = secrets.new_secret(secrets.TOKEN_PREFIX)

    assert len({secrets.new_secret(secrets.TOKEN_PREFIX) for _ in range(100)}) == 100
    assert secrets.is_well_formed(token, secrets.TOKEN_PREFIX)
    assert not secrets.is_well_formed(token, secrets.SESSION_PREFIX)
    changed = token[:10] + ("a" if token[10] != "a" else "b") + token[11:]
    for other in (changed, token[:-1], token + "a", "itk_", "", "itk_" + "é" * 49):
        assert not secrets.is_well_formed(other, secrets.TOKEN_PREFIX)


@pytest.mark.parametrize(
    ("headers", "is_rejected"),
    [
        ({}, False),  # curl
        ({"sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "same-site"}, True),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"origin": "http://tracker:8000"}, False),
        ({"origin": "http://tracker:8001"}, True),
        ({"origin": "https://evil.example"}, True),
        ({"origin": "null"}, True),
        ({"origin": "https://friend.example", "sec-fetch-site": "cross-site"}, False),
    ],
)
def test_request_from_other_site_is_rejected(headers: dict[str, str], is_rejected: bool) -> None:
    reason = explain_cross_origin({"host": "tracker:8000", **headers}, {"https://friend.example"})

    assert (reason is not None) == is_rejected


@pytest.mark.parametrize(
    ("server", "headers", "is_local"),
    [
        (("127.0.0.1", 8000), {"host": "127.0.0.1:8000"}, True),
        (("127.0.0.1", 8000), {"host": "localhost"}, True),
        (("::1", 8000), {"host": "[::1]:8000"}, True),
        (("10.0.0.7", 8000), {"host": "127.0.0.1:8000"}, False),
        (("/run/api.sock", None), {"host": "localhost"}, False),
        (None, {"host": "localhost"}, False),
        (("127.0.0.1", 8000), {"host": "issues.example.org"}, False),
        (("127.0.0.1", 8000), {"host": "127.0.0.1.example.org"}, False),
        (("127.0.0.1", 8000), {}, False),
        (("127.0.0.1", 8000), {"host": "localhost", "x-forwarded-for": "10.0.0.7"}, False),
        (("127.0.0.1", 8000), {"host": "localhost", "forwarded": "for=10.0.0.7"}, False),
    ],
)
def test_request_without_authentication_is_accepted_only_from_loopback(
    server: Any, headers: dict[str, str], is_local: bool
) -> None:
    assert (explain_remote_request({"server": server}, headers) is None) == is_local


@pytest.mark.parametrize(
    ("arguments", "listener"),
    [
        ([], None),
        (["--port", "80", "--reload"], None),
        (["--host", "127.0.0.1"], None),
        (["--host", "localhost"], None),
        (["--host", "0.0.0.0"], "0.0.0.0"),
        (["--host=::"], "::"),
        (["--uds", "/run/api.sock"], "/run/api.sock"),
    ],
)
def test_uvicorn_command_line_with_open_listener_exits_with_2(
    arguments: list[str], listener: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["/x/uvicorn/__main__.py", "main:app", *arguments]
    if listener is None:
        require_loopback_listener(argv)
        return
    with pytest.raises(SystemExit) as exit_info:
        require_loopback_listener(argv)

    assert exit_info.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert listener in line
    assert "AUTH=on" in line


def test_rate_limit_uses_sliding_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test replaces only the clock."""
    now = WINDOW_S * 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    limiter = Limiter("redis://127.0.0.1:1/0")

    assert [limiter.hit("a", 4).is_allowed for _ in range(6)] == [True] * 4 + [False] * 2
    assert limiter.hit("b", 4).is_allowed
    assert (
        limiter.hit("a", 4).wait_s == 75
    )  # 15 s into the next minute, one of the four requests leaves the window
    now += 74
    assert not limiter.hit("a", 4).is_allowed
    now += 1
    rate = limiter.hit("a", 4)
    assert (rate.is_allowed, rate.remaining) == (True, 0)
    assert limiter.hit("a", 4).wait_s == 15
    now += 5 * WINDOW_S
    assert limiter.hit("a", 4).remaining == 3


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ADMIN_TOKEN", "short", "at least 32 characters"),
        ("AUTH", "no", "'on', 'off' or 'off-everywhere'"),
        ("CORS_ORIGINS", "https://a.example/page", "must be origins"),
        ("CORS_ORIGINS", "*", "must be origins"),
        ("RATE_LIMIT", "-1", "greater than or equal to 0"),
    ],
)
def test_setting_with_invalid_value_raises_error_with_rule(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        ApiSettings()


def test_rate_limits_without_authentication_are_off() -> None:
    assert ApiSettings().limits == (0, 0)
    assert all(ApiSettings(auth="on").limits)
    assert ApiSettings(rate_limit=5).limits == (5, 0)
    assert ApiSettings(auth="on", rate_limit=0).limits[0] == 0
