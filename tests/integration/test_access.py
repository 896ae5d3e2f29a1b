"""Who gets in, as a client sees it: tokens, scopes, sessions, limits, and what is kept of it."""

import re
from collections.abc import Iterator, Mapping

import httpx
import pytest
import redis

from api.access.secrets import TOKEN_PREFIX, new_secret
from devstack.network import wait_until
from tests.conftest import STOP_TIMEOUT_S, ApiFactory
from tests.integration.test_issues_api import assert_problem
from tests.support.access import ADMIN, CLOSED, Tokens, bearer
from tests.support.database import Database
from tests.support.processes import Api, start_api
from tests.support.routes import Endpoint, endpoints
from tests.support.servers import Servers
from tests.unit.api.test_access_rules import OPEN, PAGE

WELL_FORMED = new_secret(TOKEN_PREFIX)
"""Such a token could be ours, and is not."""
CLOSED_ENDPOINTS = [endpoint for endpoint in endpoints() if str(endpoint) not in OPEN | PAGE]
WEB = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
"""What a browser sends with what the API's own page asks for."""


@pytest.fixture(scope="module")
def closed_api(servers: Servers) -> Iterator[Api]:
    """An API that asks for tokens."""
    running = start_api({**servers.env, "DISPATCH_POLL_SECONDS": "3600", **CLOSED})
    yield running
    running.client.close()
    running.process.stop(STOP_TIMEOUT_S)


@pytest.fixture
def tokens(closed_api: Api, database: Database) -> Tokens:
    del database
    return Tokens(closed_api)


@pytest.fixture(scope="module")
def kinds(closed_api: Api, _database: Database) -> Mapping[str, str]:
    """A token of each kind, for the tests that only ask who gets in."""
    _database.query("TRUNCATE api_token, audit_log")
    return Tokens(closed_api).kinds(_database)


def ask(api: Api, endpoint: Endpoint, token: str | None) -> httpx.Response:
    headers = {} if token is None else bearer(token)
    with api.client.stream(endpoint.method, endpoint.url, headers=headers) as answer:
        if "event-stream" not in answer.headers.get("content-type", ""):
            answer.read()
        return answer


class TestTable:
    """Each endpoint, as it is routed, with each kind of token; `pytest -v` prints the table."""

    @pytest.mark.parametrize("endpoint", CLOSED_ENDPOINTS, ids=str)
    @pytest.mark.parametrize("kind", [None, "expired", "revoked", "made up", "of another scheme"])
    def test_nobody_gets_in_without_a_valid_token(
        self, endpoint: Endpoint, kind: str | None, closed_api: Api, kinds: Mapping[str, str]
    ) -> None:
        if kind == "of another scheme":
            answer = closed_api.client.request(endpoint.method, endpoint.url, auth=("admin", ADMIN))
        else:
            token = None if kind is None else kinds.get(kind, "itk_" + "0" * 49)
            answer = ask(closed_api, endpoint, token)

        problem = assert_problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith('Bearer realm="issuetracker"')
        if kind in {"expired", "revoked"}:
            assert f"token {kind}" in str(problem["detail"])
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]

    @pytest.mark.parametrize("endpoint", CLOSED_ENDPOINTS, ids=str)
    @pytest.mark.parametrize("kind", ["issues:read", "issues:write", "admin"])
    def test_a_token_opens_what_its_scope_says(
        self, endpoint: Endpoint, kind: str, closed_api: Api, kinds: Mapping[str, str]
    ) -> None:
        answer = ask(closed_api, endpoint, kinds[kind])

        if allowed(endpoint, kind):
            assert answer.status_code not in {401, 403, 429}, answer.text
            assert "ratelimit" in answer.headers
        else:
            problem = assert_problem(answer, 403)
            assert "scope" in str(problem["detail"])
            assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]

    def test_probes_and_metrics_need_none(self, closed_api: Api) -> None:
        for path in ("/livez", "/readyz", "/metrics", "/openapi.json", "/docs"):
            assert closed_api.client.get(path).status_code == 200

    def test_what_there_is_not_is_closed_too(self, closed_api: Api) -> None:
        assert_problem(closed_api.client.get("/api/v1/secrets"), 401)
        assert_problem(closed_api.client.get("/api/v1/secrets", headers=bearer(ADMIN)), 404)


FOR_ADMINS = ("/api/v1/tokens", "/api/v1/audit", "/api/v1/diagnosis", "/api/v1/webhooks")


def allowed(endpoint: Endpoint, kind: str) -> bool:
    if kind == "admin" or endpoint.path == "/api/v1/session":
        return True
    if endpoint.path.startswith(FOR_ADMINS) or str(endpoint) == "PUT /api/v1/tags":
        return False
    return kind == ("issues:read" if endpoint.method == "GET" else "issues:write")


class TestTokens:
    def test_a_token_is_shown_once_and_stored_as_its_hash(
        self, tokens: Tokens, closed_api: Api, database: Database
    ) -> None:
        made = tokens.make("ci", "issues:write", expires_in_days=7)

        assert re.fullmatch(r"itk_[0-9A-Za-z]{49}", made["token"])
        listed = closed_api.client.get("/api/v1/tokens", headers=bearer(ADMIN))
        one = closed_api.client.get(f"/api/v1/tokens/{made['id']}", headers=bearer(ADMIN))
        assert listed.json()["items"] == [one.json()]
        assert one.json() == {name: value for name, value in made.items() if name != "token"}
        assert (one.json()["hint"], one.json()["created_by"]) == (made["token"][:10], "admin-token")
        assert everything_stored(database).count(made["hint"]) == 1
        assert made["token"][10:] not in everything_stored(database)
        assert database.one("SELECT digest = sha256(convert_to(%s, 'UTF8')) FROM api_token", made["token"])

    def test_an_answer_that_is_kept_to_be_repeated_holds_no_token(
        self, closed_api: Api, database: Database
    ) -> None:
        made = closed_api.client.post(
            "/api/v1/tokens",
            json={"name": "ci", "scopes": ["issues:read"]},
            headers={**bearer(ADMIN), "Idempotency-Key": "once"},
        )

        assert made.headers["cache-control"] == "no-store"
        assert made.json()["token"][10:] not in everything_stored(database)
        assert made.json()["token"].encode().hex() not in everything_stored(database)

    def test_no_token_is_in_the_log(self, tokens: Tokens, closed_api: Api) -> None:
        made = tokens.make("ci", "issues:write")
        closed_api.client.post("/api/v1/issues", json={"title": "t"}, headers=bearer(made["token"]))
        closed_api.client.post("/api/v1/session", json={"token": made["token"]})
        closed_api.client.get("/api/v1/issues", headers=bearer(made["token"] + "x"))

        wait_until(lambda: closed_api.log.has('"event": "request_completed"', '"status": 401'), 10, "its line")
        assert ADMIN not in str(closed_api.log)
        assert made["token"][10:] not in str(closed_api.log)
        assert "its_" not in str(closed_api.log)

    def test_a_revoked_token_ends_at_once_where_it_was_revoked(self, tokens: Tokens, closed_api: Api) -> None:
        made = tokens.make("ci", "issues:read")
        assert ask_for_issues(closed_api, made["token"]).status_code == 200

        assert [tokens.revoke(made["id"]).status_code for _ in range(2)] == [204, 204]

        assert_problem(ask_for_issues(closed_api, made["token"]), 401)
        assert tokens.make("ci", "issues:read")["id"] != made["id"], "the name is free again"

    def test_and_within_seconds_elsewhere(self, tokens: Tokens, new_api: ApiFactory) -> None:
        other = new_api(CLOSED)
        made = tokens.make("ci", "issues:read")
        assert ask_for_issues(other, made["token"]).status_code == 200

        tokens.revoke(made["id"])

        wait_until(lambda: ask_for_issues(other, made["token"]).status_code == 401, 30, "the token to end")

    @pytest.mark.parametrize(
        ("body", "status", "words"),
        [
            ({"name": "ci", "scopes": ["issues:read"]}, 409, "token ci"),
            ({"name": "a b", "scopes": ["issues:read"]}, 422, "#/name"),
            ({"name": "anonymous", "scopes": ["issues:read"]}, 422, "#/name"),
            ({"name": "x", "scopes": []}, 422, "#/scopes"),
            ({"name": "x", "scopes": ["all"]}, 422, "#/scopes/0"),
            ({"name": "x", "scopes": ["admin"], "expires_in_days": 0}, 422, "#/expires_in_days"),
            ({"name": "x", "scopes": ["admin"], "expires_in_days": 3651}, 422, "#/expires_in_days"),
        ],
    )
    def test_what_cannot_be_made(
        self, body: dict[str, object], status: int, words: str, tokens: Tokens, closed_api: Api
    ) -> None:
        tokens.make("ci", "issues:read")

        answer = closed_api.client.post("/api/v1/tokens", json=body, headers=bearer(ADMIN))

        assert words in str(assert_problem(answer, status)["detail"])

    def test_its_use_is_noted(self, tokens: Tokens, closed_api: Api, database: Database) -> None:
        made = tokens.make("ci", "issues:read")
        assert made["last_used_at"] is None

        for _ in range(3):
            ask_for_issues(closed_api, made["token"])

        assert database.one("SELECT last_used_at > now() - interval '1 minute' FROM api_token")

    def test_while_the_database_is_away_nobody_is_taken_for_somebody(
        self, servers: Servers, new_api: ApiFactory
    ) -> None:
        api = new_api({**CLOSED, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})
        del servers

        problem = assert_problem(ask_for_issues(api, WELL_FORMED), 503)

        assert "nothing was stored" in str(problem["detail"])
        assert_problem(ask_for_issues(api, "itk_nothing"), 401)


def ask_for_issues(api: Api, token: str) -> httpx.Response:
    return api.client.get("/api/v1/issues", headers=bearer(token))


def everything_stored(database: Database) -> str:
    """Return every row of every table as text."""
    tables = database.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return "\n".join(
        str(row["row"])
        for table in tables
        for row in database.query(f'SELECT t::text AS row FROM "{table["tablename"]}" t')
    )


class TestSessions:
    @pytest.fixture
    def browser(self, closed_api: Api) -> Iterator[httpx.Client]:
        with httpx.Client(base_url=closed_api.client.base_url, headers=WEB, timeout=30) as client:
            yield client

    def test_a_token_begins_a_session_which_can_do_the_same(
        self, tokens: Tokens, browser: httpx.Client, database: Database
    ) -> None:
        token = tokens.make("page", "issues:read", "issues:write")["token"]
        assert_problem(browser.get("/api/v1/session"), 401)

        answer = browser.post("/api/v1/session", json={"token": token})

        cookie = answer.headers["set-cookie"]
        assert re.match(r"issuetracker_session=its_[0-9A-Za-z]{49}; ", cookie)
        assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"} <= set(cookie.split("; "))
        assert "Secure" not in cookie
        assert token not in answer.text
        assert browser.get("/api/v1/session").json()["name"] == "page"
        assert browser.post("/api/v1/issues", json={"title": "t"}).status_code == 201
        assert_problem(browser.get("/api/v1/tokens"), 403)
        assert browser.cookies["issuetracker_session"] not in everything_stored(database)

        assert browser.delete("/api/v1/session").status_code == 204
        kept = {"Cookie": f"issuetracker_session={cookie.split(';')[0].split('=')[1]}"}
        assert_problem(browser.get("/api/v1/issues", headers=kept), 401)
        assert browser.delete("/api/v1/session").status_code == 204
        actions = database.query("SELECT action FROM audit_log WHERE actor = 'page' ORDER BY id")
        assert [row["action"] for row in actions] == ["session.started", "issue.created", "session.ended"]

    def test_over_https_the_cookie_stays_there(self, tokens: Tokens, browser: httpx.Client) -> None:
        token = tokens.make("page", "issues:read")["token"]

        # From this machine, which uvicorn takes for its proxy.
        answer = browser.post("/api/v1/session", json={"token": token}, headers={"X-Forwarded-Proto": "https"})

        assert "; Secure" in answer.headers["set-cookie"]
        assert answer.headers["strict-transport-security"]

    def test_a_session_ends_with_its_token(
        self, tokens: Tokens, browser: httpx.Client, database: Database
    ) -> None:
        made = tokens.make("page", "issues:read")
        browser.post("/api/v1/session", json={"token": made["token"]})
        assert browser.get("/api/v1/issues").status_code == 200

        tokens.revoke(made["id"])

        assert "token page was revoked" in str(assert_problem(browser.get("/api/v1/issues"), 401)["detail"])
        browser.post("/api/v1/session", json={"token": ADMIN})
        assert browser.get("/api/v1/tokens").status_code == 200
        database.query("UPDATE api_session SET expires_at = now() - interval '1 s'")
        tokens.revoke(made["id"])  # so that this process asks again
        assert "session expired" in str(assert_problem(browser.get("/api/v1/tokens"), 401)["detail"])

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
            {"Origin": "https://evil.example", "Sec-Fetch-Site": ""},
            {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
            {"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"},
        ],
    )
    def test_another_sites_page_cannot_use_it(
        self, headers: dict[str, str], tokens: Tokens, browser: httpx.Client, database: Database
    ) -> None:
        token = tokens.make("page", "issues:write")["token"]
        browser.post("/api/v1/session", json={"token": token})

        for method, path in (("POST", "/issues"), ("DELETE", "/session"), ("POST", "/session")):
            answer = browser.request(
                method, f"/api/v1{path}", json={"title": "t", "token": token}, headers=headers
            )
            assert_problem(answer, 403)

        assert database.one("SELECT count(*) FROM issue") == 0
        assert browser.get("/api/v1/session").status_code == 200, "still logged in"

    def test_a_token_that_is_none_begins_none(self, browser: httpx.Client, tokens: Tokens) -> None:
        del tokens
        answer = browser.post("/api/v1/session", json={"token": "itk_nothing"})

        assert_problem(answer, 401)
        assert "set-cookie" not in answer.headers
        assert_problem(browser.post("/api/v1/session", json={"token": WELL_FORMED}), 401)


class TestLimits:
    def test_a_token_has_its_own_and_says_when_to_try_again(self, new_api: ApiFactory, database: Database) -> None:
        api = new_api({**CLOSED, "RATE_LIMIT": "5"})
        one, other = (Tokens(api).make(name, "issues:write")["token"] for name in ("one", "other"))

        answers = [api.client.post("/api/v1/issues", json={"title": "t"}, headers=bearer(one)) for _ in range(7)]

        assert [answer.status_code for answer in answers] == [201] * 5 + [429] * 2
        assert [answer.headers["ratelimit"].split(";")[1] for answer in answers[:5]] == [
            f"r={left}" for left in (4, 3, 2, 1, 0)
        ]
        assert answers[0].headers["ratelimit-policy"] == '"minute";q=5;w=60'
        assert_problem(answers[-1], 429)
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 120
        assert database.one("SELECT count(*) FROM issue") == 5
        answer = api.client.post("/api/v1/issues", json={"title": "t"}, headers=bearer(other))
        assert answer.status_code == 201

    def test_several_processes_count_together(self, new_api: ApiFactory) -> None:
        first, second = (new_api({**CLOSED, "RATE_LIMIT": "10"}) for _ in range(2))
        token = Tokens(first).make("one", "issues:read")["token"]
        for _ in range(9):
            assert ask_for_issues(first, token).status_code == 200

        def refused_by_second() -> bool:
            return ask_for_issues(second, token).status_code == 429

        # At most ten more get in before it has heard of the first process's nine.
        wait_until(refused_by_second, 30, "the second to know of the first")

    def test_whoever_fails_is_counted_by_address_and_keeps_nobody_else_out(self, new_api: ApiFactory) -> None:
        api = new_api({**CLOSED, "RATE_LIMIT_ADDRESS": "3"})
        token = Tokens(api).make("one", "issues:read")["token"]

        statuses = [ask_for_issues(api, "itk_wrong").status_code for _ in range(5)]
        login = api.client.post("/api/v1/session", json={"token": WELL_FORMED})

        assert statuses == [401] * 3 + [429] * 2
        assert login.status_code == 429
        assert ask_for_issues(api, token).status_code == 200
        elsewhere = {**bearer("itk_wrong"), "X-Forwarded-For": "192.0.2.7"}
        assert api.client.get("/api/v1/issues", headers=elsewhere).status_code == 401

    def test_without_redis_no_issue_is_refused(self, new_api: ApiFactory, database: Database) -> None:
        api = new_api({**CLOSED, "CELERY_BROKER_URL": "redis://127.0.0.1:1/0", "RATE_LIMIT": "5"})

        def posts() -> list[int]:
            body, headers = {"title": "t"}, bearer(ADMIN)
            return [api.client.post("/api/v1/issues", json=body, headers=headers).status_code for _ in range(6)]

        assert posts() == [201] * 5 + [429]
        assert database.one("SELECT count(*) FROM issue") == 5
        wait_until(lambda: api.log.has("rate_limit_sync_failed"), 30, "the log to say so")

    def test_what_is_in_redis_goes_away(self, new_api: ApiFactory, broker: redis.Redis) -> None:
        api = new_api({**CLOSED, "RATE_LIMIT": "5"})
        ask_for_issues(api, ADMIN)

        def kept() -> list[str]:
            return [str(key) for key in broker.keys("ratelimit:token:admin-token:*")]

        wait_until(lambda: bool(kept()), 30, "the counter in Redis")
        assert 0 < int(str(broker.ttl(kept()[0]))) <= 120


class TestAudit:
    def test_every_change_tells_who_and_when(self, tokens: Tokens, closed_api: Api) -> None:
        made = tokens.make("triage", "issues:read", "issues:write")
        headers = bearer(made["token"])
        issue = closed_api.client.post("/api/v1/issues", json={"title": "t"}, headers=headers).json()["id"]
        tags = {"tags": ["bug"]}
        assert closed_api.client.put(f"/api/v1/issues/{issue}/tags", json=tags, headers=headers).is_success
        assert closed_api.client.post("/api/v1/models/train", json={}, headers=headers).is_success
        tokens.revoke(made["id"])

        entries = closed_api.client.get("/api/v1/audit", headers=bearer(ADMIN)).json()["items"]

        assert [(entry["actor"], entry["action"]) for entry in entries] == [
            ("admin-token", "token.revoked"),
            ("triage", "project_model.training_started"),
            ("triage", "issue.tags_confirmed"),
            ("triage", "issue.created"),
            ("admin-token", "token.created"),
        ]
        assert {entry["actor_id"] for entry in entries} == {None, made["id"]}
        assert entries[2]["subject"] == issue
        assert entries[2]["detail"] == {"tags": ["bug"]}
        assert entries[-1]["detail"] == {"name": "triage", "scopes": ["issues:read", "issues:write"]}

    def test_filters_and_pages(self, tokens: Tokens, closed_api: Api) -> None:
        made = [tokens.make(f"t{number}", "issues:read")["id"] for number in range(5)]
        tokens.revoke(made[0])

        def find(**filters: str) -> list[str]:
            found, url = [], f"/api/v1/audit?{httpx.QueryParams({'limit': '2', **filters})}"
            while url:
                page = closed_api.client.get(url, headers=bearer(ADMIN))
                found += [entry["subject"] for entry in page.json()["items"]]
                url = page.links["next"]["url"] if "next" in page.links else ""
            return found

        assert find(action="token.created") == made[::-1]
        assert find(subject=made[0]) == [made[0]] * 2
        assert find(actor="nobody") == []
        assert len(find(actor="admin-token", since="2020-01-01T00:00:00Z")) == 6
        assert find(until="2020-01-01T00:00:00Z") == []

    @pytest.mark.parametrize("query", ["since=yesterday", "since=2020-01-01T00:00:00", "who=me", "cursor=x"])
    def test_a_bad_filter_is_named(self, query: str, closed_api: Api, tokens: Tokens) -> None:
        del tokens
        answer = closed_api.client.get(f"/api/v1/audit?{query}", headers=bearer(ADMIN))

        assert f"query.{query.split('=', maxsplit=1)[0]}" in str(assert_problem(answer, 422)["detail"])

    def test_without_authentication_it_is_anonymous(self, api: Api, database: Database) -> None:
        api.post("t")

        assert database.query("SELECT actor, actor_id FROM audit_log") == [
            {"actor": "anonymous", "actor_id": None}
        ]
        assert api.client.get("/api/v1/session").json() == {
            "name": "anonymous",
            "token_id": None,
            "scopes": ["admin", "issues:read", "issues:write"],
            "auth": False,
        }


class TestWithoutAuthentication:
    """AUTH=off."""

    @pytest.mark.parametrize(
        "headers",
        [
            {"Host": "issues.example.org"},
            {"X-Forwarded-For": "192.0.2.7"},
            {"Forwarded": "for=192.0.2.7"},
            {"Origin": "http://evil.example"},
        ],
    )
    def test_what_may_come_from_elsewhere_is_refused(
        self, headers: dict[str, str], api: Api, database: Database
    ) -> None:
        answer = api.client.post("/api/v1/issues", json={"title": "t"}, headers=headers)

        assert_problem(answer, 403)
        assert database.one("SELECT count(*) FROM issue") == 0

    def test_forced_it_serves_whoever_reaches_it(self, new_api: ApiFactory) -> None:
        api = new_api({"AUTH": "off-everywhere"})
        elsewhere = {"Host": "issues.example.org", "X-Forwarded-For": "192.0.2.7"}

        answer = api.client.post("/api/v1/issues", json={"title": "t"}, headers=elsewhere)

        assert answer.status_code == 201
        foreign = {**elsewhere, "Origin": "http://evil.example"}
        assert_problem(api.client.post("/api/v1/issues", json={"title": "t"}, headers=foreign), 403)


class TestBrowsers:
    def test_security_headers_are_on_every_answer(self, closed_api: Api) -> None:
        for path in ("/livez", "/api/v1/issues", "/nowhere"):
            headers = closed_api.client.get(path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "script-src" not in closed_api.client.get("/docs").headers["content-security-policy"]

    def test_no_other_page_may_call_it(self, closed_api: Api) -> None:
        preflight = {"Origin": "https://friend.example", "Access-Control-Request-Method": "POST"}

        assert (
            "access-control-allow-origin"
            not in closed_api.client.options("/api/v1/issues", headers=preflight).headers
        )

    def test_an_origin_that_is_none_is_another_site(self, closed_api: Api) -> None:
        answer = closed_api.client.post("/api/v1/issues", json={"title": "t"}, headers={"Origin": "http://[bad"})
        assert answer.status_code in {401, 403}

    def test_but_those_that_are_named(self, new_api: ApiFactory) -> None:
        api = new_api({**CLOSED, "CORS_ORIGINS": "https://friend.example, https://other.example"})
        preflight = {
            "Origin": "https://friend.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }

        answer = api.client.options("/api/v1/issues", headers=preflight)
        posted = api.client.post(
            "/api/v1/issues", json={"title": "t"}, headers={**bearer(ADMIN), "Origin": "https://friend.example"}
        )
        stranger = api.client.options("/api/v1/issues", headers={**preflight, "Origin": "https://evil.example"})

        assert answer.headers["access-control-allow-origin"] == "https://friend.example"
        assert "access-control-allow-credentials" not in answer.headers
        assert posted.status_code == 201
        assert posted.headers["access-control-allow-origin"] == "https://friend.example"
        assert "access-control-allow-origin" not in stranger.headers
