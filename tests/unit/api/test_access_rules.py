"""Every route asks for a scope, but for those that are open on purpose; then the parts by themselves."""

import time
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts

from api.access import secrets
from api.access.cross_origin import cross_origin_reason
from api.access.limiter import WINDOW_S, Limiter
from api.access.loopback import outside_reason, refuse_open_listener
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
    "GET /docs/oauth2-redirect",
    "GET /redoc",
    "GET /openapi.json",
    "POST /api/v1/session",
    "DELETE /api/v1/session",
}
"""What answers without a token. Whoever adds to it says why in docs/decisions/0009-access.md."""
ADMIN_ONLY = ("/api/v1/tokens", "/api/v1/audit")
PAGE = {"GET /", "GET /static"}


def test_what_is_open_is_known() -> None:
    opened = {str(endpoint) for endpoint in endpoints() if is_open(endpoint.method, endpoint.path)}

    assert opened - PAGE == OPEN


def test_whatever_is_no_api_route_is_open_on_purpose() -> None:
    """Only API routes run the dependency that asks for a scope; a mounted application would not."""
    others = {str(endpoint) for endpoint in endpoints() if not endpoint.is_api_route}

    assert others <= OPEN | PAGE


def test_every_closed_route_asks_for_the_scope_of_its_method_or_a_stricter_one() -> None:
    for context in iter_route_contexts(create_app(ApiSettings()).routes):
        for method in context.methods or ():
            path = str(context.path)
            if is_open(method, path) or path == "/api/v1/session":
                continue
            scope = required_scope(context.original_route, method)
            if path.startswith(ADMIN_ONLY):
                assert scope is Scope.ADMIN, path
            else:
                by_method = Scope.ISSUES_READ if method in {"GET", "HEAD"} else Scope.ISSUES_WRITE
                assert scope in {by_method, Scope.ADMIN}, path


def test_the_openapi_document_says_which_scope_each_operation_needs() -> None:
    document = create_app(ApiSettings()).openapi()

    assert set(document["components"]["securitySchemes"]) == {"token", "session"}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if is_open(method.upper(), path):
                assert operation["security"] == []
            else:
                assert [set(way) for way in operation["security"]] == [{"token"}, {"session"}]
                assert {"401", "403", "429"} <= set(operation["responses"])
    assert document["paths"]["/api/v1/issues"]["post"]["security"][0] == {"token": ["issues:write"]}
    assert document["paths"]["/api/v1/audit"]["get"]["security"][0] == {"token": ["admin"]}


def test_a_token_can_be_told_from_a_look_alike() -> None:
    token = secrets.new_secret(secrets.TOKEN_PREFIX)

    assert len({secrets.new_secret(secrets.TOKEN_PREFIX) for _ in range(100)}) == 100
    assert secrets.is_well_formed(token, secrets.TOKEN_PREFIX)
    assert not secrets.is_well_formed(token, secrets.SESSION_PREFIX)
    changed = token[:10] + ("a" if token[10] != "a" else "b") + token[11:]
    for other in (changed, token[:-1], token + "a", "itk_", "", "itk_" + "é" * 49):
        assert not secrets.is_well_formed(other, secrets.TOKEN_PREFIX)


@pytest.mark.parametrize(
    ("headers", "is_refused"),
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
def test_what_another_sites_page_sends_is_refused(headers: dict[str, str], is_refused: bool) -> None:
    reason = cross_origin_reason({"host": "tracker:8000", **headers}, {"https://friend.example"})

    assert (reason is not None) == is_refused


@pytest.mark.parametrize(
    ("server", "headers", "is_inside"),
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
def test_without_authentication_only_this_machine_is_served(
    server: Any, headers: dict[str, str], is_inside: bool
) -> None:
    assert (outside_reason({"server": server}, headers) is None) == is_inside


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
def test_uvicorns_command_line_tells_where_it_listens(
    arguments: list[str], listener: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["/x/uvicorn/__main__.py", "main:app", *arguments]
    if listener is None:
        refuse_open_listener(argv)
        return
    with pytest.raises(SystemExit) as ended:
        refuse_open_listener(argv)

    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert listener in line
    assert "AUTH=on" in line


def test_a_limit_slides(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is set by hand; nothing else stands in for anything."""
    now = WINDOW_S * 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    limiter = Limiter("redis://127.0.0.1:1/0")

    assert [limiter.hit("a", 4).allowed for _ in range(6)] == [True] * 4 + [False] * 2
    assert limiter.hit("b", 4).allowed
    assert limiter.hit("a", 4).wait_s == 75  # 15 s into the next minute one of the four counts no longer
    now += 74
    assert not limiter.hit("a", 4).allowed
    now += 1
    verdict = limiter.hit("a", 4)
    assert (verdict.allowed, verdict.remaining) == (True, 0)
    assert limiter.hit("a", 4).wait_s == 15
    now += 5 * WINDOW_S
    assert limiter.hit("a", 4).remaining == 3


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ADMIN_TOKEN", "short", "at least 32 characters"),
        ("AUTH", "no", "'on', 'off' or 'off-everywhere'"),
        ("CORS_ORIGINS", "https://a.example/page", "must be origins"),
        ("CORS_ORIGINS", "*", "must be origins"),
        ("RATE_LIMIT", "-1", "greater than or equal to 0"),
    ],
)
def test_a_bad_setting_is_named_and_a_secret_not_shown(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=words):
        ApiSettings()


def test_limits_are_off_where_authentication_is() -> None:
    assert ApiSettings().limits == (0, 0)
    assert all(ApiSettings(auth="on").limits)
    assert ApiSettings(rate_limit=5).limits == (5, 0)
    assert ApiSettings(auth="on", rate_limit=0).limits[0] == 0
