"""Access control as a client sees it: tokens, scopes, sessions, rate limits and the audit log."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import httpx
import pytest
import redis

from api.access.secrets import TOKEN_PREFIX, new_secret
from api.events.endpoints import STREAMS_PER_PRINCIPAL
from contracts.ids import new_id
from tests.conftest import ApiFactory
from tests.integration.test_issues_api import assert_problem
from tests.support.access import ADMIN, CLOSED, Tokens, bearer
from tests.support.cli import run_cli
from tests.support.database import Database
from tests.support.processes import Api
from tests.support.routes import Endpoint, endpoints
from tests.support.servers import Servers
from tests.support.stream import Listener
from tests.support.waiting import wait_until
from tests.unit.api.test_access_rules import OPEN, PAGE

WELL_FORMED = new_secret(TOKEN_PREFIX)
"""A token with a valid format that the database does not contain."""
CLOSED_ENDPOINTS = [endpoint for endpoint in endpoints() if str(endpoint) not in OPEN | PAGE]
WEB = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
"""The headers that a browser sends with requests of the page."""


@pytest.fixture(scope="module")
def kinds(closed_api: Api, _database: Database) -> Mapping[str, str]:
    """Return a token of each kind, for tests that only read."""
    _database.query("TRUNCATE api_token, audit_log")
    return Tokens(closed_api).kinds(_database)


def send(api: Api, endpoint: Endpoint, token: str | None) -> httpx.Response:
    headers = {} if token is None else bearer(token)
    with api.client.stream(endpoint.method, endpoint.url, headers=headers) as response:
        if "event-stream" not in response.headers.get("content-type", ""):
            response.read()
        return response


class TestWithoutValidToken:
    """Each routed endpoint without a valid token; `test_scope_matrix.py` tries the valid ones."""

    @pytest.mark.parametrize("endpoint", CLOSED_ENDPOINTS, ids=str)
    @pytest.mark.parametrize("kind", [None, "expired", "revoked", "unknown", "other_scheme"])
    def test_closed_endpoint_without_valid_token_returns_401(
        self, endpoint: Endpoint, kind: str | None, closed_api: Api, kinds: Mapping[str, str]
    ) -> None:
        if kind == "other_scheme":
            response = closed_api.client.request(endpoint.method, endpoint.url, auth=("admin", ADMIN))
        else:
            token = None if kind is None else kinds.get(kind, "itk_" + "0" * 49)
            response = send(closed_api, endpoint, token)

        problem = assert_problem(response, 401)
        realm = 'Bearer realm="issuetracker"'
        # RFC 6750, 3.1: the response to a request without a token has no error code.
        challenge = realm if kind in {None, "other_scheme"} else f'{realm}, error="invalid_token"'
        assert response.headers["www-authenticate"] == challenge
        if kind in {"expired", "revoked"}:
            assert f"{kind} at" in str(problem["detail"])

    def test_probes_and_metrics_without_token_return_200(self, closed_api: Api) -> None:
        for path in ("/livez", "/readyz", "/metrics", "/openapi.json", "/docs"):
            assert closed_api.client.get(path).status_code == 200

    def test_unknown_path_without_token_returns_401(self, closed_api: Api) -> None:
        assert_problem(closed_api.client.get("/api/v1/secrets"), 401)
        assert_problem(closed_api.client.get("/api/v1/secrets", headers=bearer(ADMIN)), 404)


class TestTokens:
    def test_token_is_returned_once_and_stored_as_hash(
        self, tokens: Tokens, closed_api: Api, database: Database
    ) -> None:
        created = tokens.make("ci", "issues:write", expires_in_days=7)

        assert re.fullmatch(r"itk_[0-9A-Za-z]{49}", created["token"])
        listed = closed_api.client.get("/api/v1/tokens", headers=bearer(ADMIN))
        one = closed_api.client.get(f"/api/v1/tokens/{created['id']}", headers=bearer(ADMIN))
        assert listed.json()["items"] == [one.json()]
        assert one.json() == {name: value for name, value in created.items() if name != "token"}
        assert (one.json()["hint"], one.json()["created_by"]) == (created["token"][:10], "admin-token")
        assert dump_all_rows(database).count(created["hint"]) == 1
        assert created["token"][10:] not in dump_all_rows(database)
        assert database.one("SELECT digest = sha256(convert_to(%s, 'UTF8')) FROM api_token", created["token"])

    def test_stored_idempotent_response_contains_no_token(self, closed_api: Api, database: Database) -> None:
        created = closed_api.client.post(
            "/api/v1/tokens",
            json={"name": "ci", "scopes": ["issues:read"]},
            headers={**bearer(ADMIN), "Idempotency-Key": "once"},
        )

        assert created.headers["cache-control"] == "no-store"
        assert created.json()["token"][10:] not in dump_all_rows(database)
        assert created.json()["token"].encode().hex() not in dump_all_rows(database)

    def test_log_contains_no_token(self, tokens: Tokens, closed_api: Api) -> None:
        created = tokens.make("ci", "issues:write")
        closed_api.client.post("/api/v1/issues", json={"title": "t"}, headers=bearer(created["token"]))
        closed_api.client.post("/api/v1/session", json={"token": created["token"]})
        closed_api.client.get("/api/v1/issues", headers=bearer(created["token"] + "x"))

        wait_until(
            lambda: closed_api.log.has('"event": "request_completed"', '"status": 401'),
            "the log line of the request",
        )
        assert ADMIN not in str(closed_api.log)
        assert created["token"][10:] not in str(closed_api.log)
        assert "its_" not in str(closed_api.log)

    def test_log_names_holder_whose_request_is_forbidden(self, tokens: Tokens, closed_api: Api) -> None:
        created = tokens.make("reader", "issues:read")
        closed_api.client.post("/api/v1/issues", json={"title": "t"}, headers=bearer(created["token"]))

        wait_until(
            lambda: closed_api.log.has('"event": "request_completed"', '"status": 403', '"principal": "reader"'),
            "the log line of the request",
        )

    def test_revoked_token_on_same_process_is_rejected_immediately(self, tokens: Tokens, closed_api: Api) -> None:
        created = tokens.make("ci", "issues:read")
        assert list_issues(closed_api, created["token"]).status_code == 200

        assert [tokens.revoke(created["id"]).status_code for _ in range(2)] == [204, 204]

        assert_problem(list_issues(closed_api, created["token"]), 401)
        assert tokens.make("ci", "issues:read")["id"] != created["id"], "the name must be available again"

    def test_revoked_token_on_other_process_is_rejected_within_seconds(
        self, tokens: Tokens, new_api: ApiFactory
    ) -> None:
        other = new_api(CLOSED)
        created = tokens.make("ci", "issues:read")
        assert list_issues(other, created["token"]).status_code == 200

        tokens.revoke(created["id"])

        wait_until(lambda: list_issues(other, created["token"]).status_code == 401, "the token to be rejected")

    @pytest.mark.parametrize(
        ("body", "status", "message"),
        [
            ({"name": "ci", "scopes": ["issues:read"]}, 409, "Token ci"),
            ({"name": "a b", "scopes": ["issues:read"]}, 422, "name:"),
            ({"name": "CI", "scopes": ["issues:read"]}, 409, "Token CI"),
            ({"name": "anonymous", "scopes": ["issues:read"]}, 422, "name:"),
            ({"name": "Admin-Token", "scopes": ["issues:read"]}, 422, "name:"),
            ({"name": "CLI", "scopes": ["issues:read"]}, 422, "name:"),
            ({"name": "x", "scopes": []}, 422, "scopes:"),
            ({"name": "x", "scopes": ["all"]}, 422, "scopes.0:"),
            ({"name": "x", "scopes": ["admin"], "expires_in_days": 0}, 422, "expires_in_days:"),
            ({"name": "x", "scopes": ["admin"], "expires_in_days": 3651}, 422, "expires_in_days:"),
        ],
    )
    def test_token_with_invalid_fields_is_rejected(
        self, body: dict[str, object], status: int, message: str, tokens: Tokens, closed_api: Api
    ) -> None:
        tokens.make("ci", "issues:read")

        response = closed_api.client.post("/api/v1/tokens", json=body, headers=bearer(ADMIN))

        assert message in str(assert_problem(response, status)["detail"])

    def test_token_use_updates_last_used_at(self, tokens: Tokens, closed_api: Api, database: Database) -> None:
        created = tokens.make("ci", "issues:read")
        assert created["last_used_at"] is None

        for _ in range(3):
            list_issues(closed_api, created["token"])

        assert database.one("SELECT last_used_at > now() - interval '1 minute' FROM api_token")

    def test_token_while_database_is_down_returns_503(self, servers: Servers, new_api: ApiFactory) -> None:
        api = new_api({**CLOSED, "DATABASE_URL": "postgresql://unknown@127.0.0.1:1/none"})
        del servers

        problem = assert_problem(list_issues(api, WELL_FORMED), 503)

        assert "Nothing was stored" in str(problem["detail"])
        assert_problem(list_issues(api, "itk_nothing"), 401)


def list_issues(api: Api, token: str) -> httpx.Response:
    return api.client.get("/api/v1/issues", headers=bearer(token))


def dump_all_rows(database: Database) -> str:
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

    def test_session_has_scopes_of_its_token(
        self, tokens: Tokens, browser: httpx.Client, database: Database
    ) -> None:
        token = tokens.make("page", "issues:read", "issues:write")["token"]
        assert_problem(browser.get("/api/v1/session"), 401)

        response = browser.post("/api/v1/session", json={"token": token})

        cookie = response.headers["set-cookie"]
        assert re.match(r"issuetracker_session=its_[0-9A-Za-z]{49}; ", cookie)
        assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"} <= set(cookie.split("; "))
        assert "Secure" not in cookie
        assert token not in response.text
        assert browser.get("/api/v1/session").json()["name"] == "page"
        assert browser.post("/api/v1/issues", json={"title": "t"}).status_code == 201
        assert_problem(browser.get("/api/v1/tokens"), 403)
        assert browser.cookies["issuetracker_session"] not in dump_all_rows(database)

        assert browser.delete("/api/v1/session").status_code == 204
        old_cookie = {"Cookie": f"issuetracker_session={cookie.split(';')[0].split('=')[1]}"}
        assert_problem(browser.get("/api/v1/issues", headers=old_cookie), 401)
        assert browser.delete("/api/v1/session").status_code == 204
        actions = database.query("SELECT action FROM audit_log WHERE actor = 'page' ORDER BY id")
        assert [row["action"] for row in actions] == ["session.started", "issue.created", "session.ended"]

    def test_session_over_https_sets_secure_cookie(self, tokens: Tokens, browser: httpx.Client) -> None:
        token = tokens.make("page", "issues:read")["token"]

        # uvicorn trusts forwarded headers from this machine as those of its proxy.
        response = browser.post("/api/v1/session", json={"token": token}, headers={"X-Forwarded-Proto": "https"})

        assert "; Secure" in response.headers["set-cookie"]
        assert response.headers["strict-transport-security"]

    def test_session_of_revoked_token_is_rejected(
        self, tokens: Tokens, browser: httpx.Client, database: Database
    ) -> None:
        created = tokens.make("page", "issues:read")
        browser.post("/api/v1/session", json={"token": created["token"]})
        assert browser.get("/api/v1/issues").status_code == 200

        tokens.revoke(created["id"])

        assert "Token page was revoked" in str(assert_problem(browser.get("/api/v1/issues"), 401)["detail"])
        browser.post("/api/v1/session", json={"token": ADMIN})
        assert browser.get("/api/v1/tokens").status_code == 200
        database.query("UPDATE api_session SET expires_at = now() - interval '1 s'")
        tokens.revoke(created["id"])  # so that this process queries the database again
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
    def test_session_from_other_site_returns_403(
        self, headers: dict[str, str], tokens: Tokens, browser: httpx.Client, database: Database
    ) -> None:
        token = tokens.make("page", "issues:write")["token"]
        browser.post("/api/v1/session", json={"token": token})

        for method, path in (("POST", "/issues"), ("DELETE", "/session"), ("POST", "/session")):
            response = browser.request(
                method, f"/api/v1{path}", json={"title": "t", "token": token}, headers=headers
            )
            assert_problem(response, 403)

        assert database.one("SELECT count(*) FROM issue") == 0
        assert browser.get("/api/v1/session").status_code == 200, "the session must still be valid"

    def test_session_with_invalid_token_is_not_created(self, browser: httpx.Client, tokens: Tokens) -> None:
        del tokens
        response = browser.post("/api/v1/session", json={"token": "itk_nothing"})

        assert_problem(response, 401)
        assert "set-cookie" not in response.headers
        assert_problem(browser.post("/api/v1/session", json={"token": WELL_FORMED}), 401)

    def test_login_without_credential_of_other_site_is_rejected_despite_authorization_header(
        self, browser: httpx.Client, tokens: Tokens
    ) -> None:
        token = tokens.make("page", "issues:write")["token"]
        foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}

        for authorization in ("Bearer itk_x", "Basic eDp5", "x"):
            headers = {**foreign, "Authorization": authorization}
            login = browser.post("/api/v1/session", json={"token": token}, headers=headers)
            logout = browser.delete("/api/v1/session", headers=headers)

            assert "cross-origin" in str(assert_problem(login, 403)["detail"])
            assert "set-cookie" not in login.headers
            assert_problem(logout, 403)

    def test_failed_login_is_logged_and_audited_with_its_address(
        self, browser: httpx.Client, closed_api: Api, database: Database, tokens: Tokens
    ) -> None:
        del tokens
        elsewhere = {"X-Forwarded-For": "192.0.2.77"}

        assert_problem(browser.post("/api/v1/session", json={"token": WELL_FORMED}, headers=elsewhere), 401)
        assert_problem(list_issues(closed_api, WELL_FORMED), 401)

        (entry,) = database.query("SELECT actor, action, subject, detail FROM audit_log")
        assert (entry["actor"], entry["action"]) == ("unauthenticated", "session.refused")
        assert entry["subject"] == "192.0.2.77"
        assert entry["detail"] == {
            "reason": "The token does not exist. Check that it belongs to this IssueTracker."
        }
        wait_until(lambda: closed_api.log.has("login_failed", "192.0.2.77"), "the address of the login in the log")
        wait_until(
            lambda: closed_api.log.has("authentication_failed", "127.0.0.1"),
            "the address of the request in the log",
        )

    def test_cookie_over_https_belongs_to_this_host_only(self, browser: httpx.Client, tokens: Tokens) -> None:
        token = tokens.make("page", "issues:read")["token"]
        https = {"X-Forwarded-Proto": "https"}

        login = browser.post("/api/v1/session", json={"token": token}, headers=https)

        cookie = login.headers["set-cookie"]
        assert re.match(r"__Host-issuetracker_session=its_[0-9A-Za-z]{49}; ", cookie)
        assert {"Secure", "HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
        secret = cookie.partition("=")[2].partition(";")[0]
        for name, status in (("__Host-issuetracker_session", 200), ("issuetracker_session", 401)):
            headers = {**https, "Cookie": f"{name}={secret}"}
            assert browser.get("/api/v1/issues", headers=headers).status_code == status
        logout = browser.delete(
            "/api/v1/session", headers={**https, "Cookie": f"__Host-issuetracker_session={secret}"}
        )
        assert re.match(r'__Host-issuetracker_session="";.*; Secure', logout.headers["set-cookie"])

    def test_new_login_ends_earlier_session_of_browser(
        self, browser: httpx.Client, tokens: Tokens, database: Database
    ) -> None:
        first, second = (tokens.make(name, "issues:read")["token"] for name in ("first", "second"))
        browser.post("/api/v1/session", json={"token": first})
        stolen = {"Cookie": f"issuetracker_session={browser.cookies['issuetracker_session']}"}

        browser.post("/api/v1/session", json={"token": second})

        assert browser.get("/api/v1/session").json()["name"] == "second"
        browser.cookies.clear()
        assert_problem(browser.get("/api/v1/issues", headers=stolen), 401)
        actions = database.query("SELECT actor, action FROM audit_log WHERE actor <> 'admin-token' ORDER BY id")
        assert [(entry["actor"], entry["action"]) for entry in actions] == [
            ("first", "session.started"),
            ("first", "session.ended"),
            ("second", "session.started"),
        ]

    def test_session_must_present_its_token_again_for_lasting_access(
        self, browser: httpx.Client, tokens: Tokens, database: Database
    ) -> None:
        del tokens
        browser.post("/api/v1/session", json={"token": ADMIN})
        new_token = {"name": "backdoor", "scopes": ["admin"]}
        hook = f"/api/v1/webhooks/{new_id()}"

        for method, path, body in (
            ("POST", "/api/v1/tokens", new_token),
            ("POST", "/api/v1/webhooks", {"url": "https://evil.example/", "events": ["issue.created"]}),
            ("PATCH", hook, {"url": "https://evil.example/"}),
            ("POST", f"{hook}/secret", {}),
        ):
            problem = assert_problem(browser.request(method, path, json=body), 403)
            assert "Present its token again" in str(problem["detail"])

        assert database.one("SELECT count(*) FROM api_token") == 0
        assert browser.get("/api/v1/tokens").status_code == 200
        assert browser.post("/api/v1/tokens", json=new_token, headers=bearer(ADMIN)).status_code == 201


class TestStreams:
    def test_stream_of_revoked_token_ends_at_next_heartbeat(self, tokens: Tokens, closed_api: Api) -> None:
        created = tokens.make("dashboard", "issues:read")
        with Listener(closed_api, headers=bearer(created["token"])) as listener:
            tokens.revoke(created["id"])

            wait_until(listener.ended.is_set, "the end of the stream")

    def test_stream_of_ended_session_ends_at_next_heartbeat(self, tokens: Tokens, closed_api: Api) -> None:
        del tokens
        with httpx.Client(base_url=closed_api.client.base_url, headers=WEB, timeout=30) as browser:
            browser.post("/api/v1/session", json={"token": ADMIN})
            cookie = {"Cookie": f"issuetracker_session={browser.cookies['issuetracker_session']}"}
            with Listener(closed_api, headers=cookie) as listener:
                browser.delete("/api/v1/session")

                wait_until(listener.ended.is_set, "the end of the stream")

    def test_streams_of_one_token_do_not_lock_out_others(self, tokens: Tokens, closed_api: Api) -> None:
        busy, other = (tokens.make(name, "issues:read")["token"] for name in ("busy", "other"))
        with ExitStack() as stack:
            for _ in range(STREAMS_PER_PRINCIPAL):
                stack.enter_context(Listener(closed_api, headers=bearer(busy)))

            refused = closed_api.client.get("/api/v1/events", headers=bearer(busy))

            assert_problem(refused, 429)
            assert refused.headers["retry-after"] == "5"
            with Listener(closed_api, headers=bearer(other)):
                pass

        def is_accepted() -> bool:
            with closed_api.client.stream("GET", "/api/v1/events", headers=bearer(busy)) as response:
                return response.status_code == 200

        wait_until(is_accepted, "a new stream after the end of the others")


COUNTERS_DB = 5


def own_counters(servers: Servers) -> dict[str, str]:
    """Return settings of a database of Redis without the counts of other tests."""
    with redis.Redis(port=servers.redis_port, db=COUNTERS_DB) as client:
        client.flushdb()
    return {"CELERY_BROKER_URL": f"redis://127.0.0.1:{servers.redis_port}/{COUNTERS_DB}"}


class TestLimits:
    def test_rate_limit_is_per_token_and_returns_retry_after(
        self, servers: Servers, new_api: ApiFactory, database: Database
    ) -> None:
        api = new_api({**CLOSED, **own_counters(servers), "RATE_LIMIT": "5"})
        one, other = (Tokens(api).make(name, "issues:write")["token"] for name in ("one", "other"))

        responses = [api.client.post("/api/v1/issues", json={"title": "t"}, headers=bearer(one)) for _ in range(7)]

        assert [response.status_code for response in responses] == [201] * 5 + [429] * 2
        assert [response.headers["ratelimit"].split(";")[1] for response in responses[:5]] == [
            f"r={left}" for left in (4, 3, 2, 1, 0)
        ]
        assert responses[-1].headers["ratelimit"].split(";")[1] == "r=0"
        assert responses[0].headers["ratelimit-policy"] == '"minute";q=5;w=60'
        assert_problem(responses[-1], 429)
        assert 1 <= int(responses[-1].headers["retry-after"]) <= 120
        assert database.one("SELECT count(*) FROM issue") == 5
        response = api.client.post("/api/v1/issues", json={"title": "t"}, headers=bearer(other))
        assert response.status_code == 201

    def test_rate_limit_is_shared_by_processes(self, servers: Servers, new_api: ApiFactory) -> None:
        env = {**CLOSED, **own_counters(servers), "RATE_LIMIT": "10"}
        first, second = (new_api(env) for _ in range(2))
        token = Tokens(first).make("one", "issues:read")["token"]

        def wait_for_count(count: int) -> None:
            def is_shared() -> bool:
                keys = client.keys("ratelimit:token:*")
                return sum(int(client.get(key) or 0) for key in keys if b"admin" not in key) == count

            wait_until(is_shared, f"{count} requests in Redis")

        with redis.Redis(port=servers.redis_port, db=COUNTERS_DB) as client:
            # Requests that were not shared before the end of their minute are never shared.
            wait_until(lambda: time.time() % 60 < 40, "a minute with time left")
            for _ in range(9):
                assert list_issues(first, token).status_code == 200
            wait_for_count(9)
            assert list_issues(second, token).status_code == 200
            wait_for_count(10)

        # Without the count of the first process, the second would accept nine more requests.
        assert 429 in [list_issues(second, token).status_code for _ in range(5)]

    def test_rate_limit_counts_requests_of_the_previous_minute(
        self, servers: Servers, new_api: ApiFactory
    ) -> None:
        api = new_api({**CLOSED, **own_counters(servers), "RATE_LIMIT": "100000"})
        wait_until(lambda: time.time() % 60 < 40, "a minute with time left")
        previous = int(time.time() // 60) - 1
        with redis.Redis(port=servers.redis_port, db=COUNTERS_DB) as client:
            client.set(f"ratelimit:token:admin-token:{previous}", 1_000_000_000)

        wait_until(lambda: list_issues(api, ADMIN).status_code == 429, "the previous minute to count")

    def test_rate_limit_of_failed_logins_is_per_address(self, servers: Servers, new_api: ApiFactory) -> None:
        api = new_api({**CLOSED, **own_counters(servers), "RATE_LIMIT_ADDRESS": "3"})
        token = Tokens(api).make("one", "issues:read")["token"]

        statuses = [list_issues(api, "itk_wrong").status_code for _ in range(5)]
        login = api.client.post("/api/v1/session", json={"token": WELL_FORMED})

        assert statuses == [401] * 3 + [429] * 2
        assert login.status_code == 429
        assert list_issues(api, token).status_code == 200
        elsewhere = {**bearer("itk_wrong"), "X-Forwarded-For": "192.0.2.7"}
        assert api.client.get("/api/v1/issues", headers=elsewhere).status_code == 401

    def test_rate_limit_of_failures_is_per_network_and_global(self, servers: Servers, new_api: ApiFactory) -> None:
        api = new_api({**CLOSED, **own_counters(servers), "RATE_LIMIT_ADDRESS": "1"})

        def fail_from(address: str) -> int:
            headers = {**bearer("itk_wrong"), "X-Forwarded-For": address}
            return api.client.get("/api/v1/issues", headers=headers).status_code

        assert [fail_from(f"2606:4700:1:2:{number:x}::1") for number in range(1, 4)] == [401, 429, 429]
        assert fail_from("2606:4700:1:3::1") == 401
        assert [fail_from(address) for address in ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2")] == [
            401,
            429,
            401,
        ]

        everywhere = [fail_from(f"2606:4700:{number:x}::1") for number in range(2, 12)]
        assert everywhere == [401] * 6 + [429] * 4, "ten failures of all addresses are within the budget"
        elsewhere = {"X-Forwarded-For": "203.0.113.9"}
        login = api.client.post("/api/v1/session", json={"token": WELL_FORMED}, headers=elsewhere)
        assert login.status_code == 429
        token = Tokens(api).make("one", "issues:read")["token"]
        assert list_issues(api, token).status_code == 200
        assert api.client.post("/api/v1/session", json={"token": token}).status_code == 200

    def test_rate_limit_without_redis_is_per_process(self, new_api: ApiFactory, database: Database) -> None:
        api = new_api({**CLOSED, "CELERY_BROKER_URL": "redis://127.0.0.1:1/0", "RATE_LIMIT": "5"})

        def posts() -> list[int]:
            body, headers = {"title": "t"}, bearer(ADMIN)
            return [api.client.post("/api/v1/issues", json=body, headers=headers).status_code for _ in range(6)]

        assert posts() == [201] * 5 + [429]
        assert database.one("SELECT count(*) FROM issue") == 5
        wait_until(lambda: api.log.has("rate_limit_sync_failed"), "rate_limit_sync_failed in the log")

    def test_rate_limit_keys_in_redis_expire(self, servers: Servers, new_api: ApiFactory) -> None:
        api = new_api({**CLOSED, **own_counters(servers), "RATE_LIMIT": "5"})
        list_issues(api, ADMIN)

        with redis.Redis(port=servers.redis_port, db=COUNTERS_DB) as client:
            wait_until(lambda: bool(client.keys("ratelimit:token:admin-token:*")), "the counter in Redis")
            (key,) = client.keys("ratelimit:token:admin-token:*")
            assert 0 < client.ttl(key) <= 120


class TestProxies:
    @pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Forwarded-Proto"])
    def test_proxy_that_is_not_trusted_is_reported(self, header: str, new_api: ApiFactory) -> None:
        api = new_api({**CLOSED, "FORWARDED_ALLOW_IPS": "10.0.0.1"})
        assert diagnose_proxy(api) is None

        api.client.get("/api/v1/issues", headers={header: {"X-Forwarded-For": "203.0.113.9"}.get(header, "https")})

        assert diagnose_proxy(api) == "127.0.0.1"
        wait_until(lambda: api.log.has("forwarded_headers_ignored", "127.0.0.1"), "the warning in the log")
        report = run_cli(str(api.client.base_url), "doctor", env={"ISSUETRACKER_TOKEN": ADMIN})
        assert "add 127.0.0.1 to FORWARDED_ALLOW_IPS" in report.stdout

    def test_each_of_two_proxies_is_logged_once(self, new_api: ApiFactory) -> None:
        api = new_api({**CLOSED, "FORWARDED_ALLOW_IPS": "10.0.0.1"})
        for address in ("127.0.0.2", "127.0.0.3") * 2:
            with httpx.Client(transport=httpx.HTTPTransport(local_address=address), timeout=60) as client:
                client.get(f"{api.client.base_url}/api/v1/issues", headers={"X-Forwarded-For": "203.0.113.9"})
        assert list_issues(api, "itk_wrong").status_code == 401

        wait_until(lambda: api.log.has("authentication_failed", "127.0.0.1"), "the last request in the log")
        logged = [line for line in api.log.lines if "forwarded_headers_ignored" in line]
        assert [("127.0.0.2" in line, "127.0.0.3" in line) for line in logged] == [(True, False), (False, True)]

    def test_trusted_proxy_is_not_reported(self, closed_api: Api, tokens: Tokens) -> None:
        del tokens
        headers = {"X-Forwarded-For": "203.0.113.9, 127.0.0.1", "X-Forwarded-Proto": "https"}
        closed_api.client.get("/api/v1/issues", headers=headers)

        assert diagnose_proxy(closed_api) is None


def diagnose_proxy(api: Api) -> str | None:
    proxy: str | None = api.client.get("/api/v1/diagnosis", headers=bearer(ADMIN)).json()["ignored_proxy"]
    return proxy


class TestAudit:
    def test_audit_log_contains_actor_and_action_of_changes(self, tokens: Tokens, closed_api: Api) -> None:
        created = tokens.make("triage", "issues:read", "issues:write")
        headers = bearer(created["token"])
        issue = closed_api.client.post("/api/v1/issues", json={"title": "t"}, headers=headers).json()["id"]
        tags = {"tags": ["bug"]}
        assert closed_api.client.put(f"/api/v1/issues/{issue}/tags", json=tags, headers=headers).is_success
        assert closed_api.client.post("/api/v1/models/train", json={}, headers=headers).is_success
        tokens.revoke(created["id"])

        entries = closed_api.client.get("/api/v1/audit", headers=bearer(ADMIN)).json()["items"]

        assert [(entry["actor"], entry["action"]) for entry in entries] == [
            ("admin-token", "token.revoked"),
            ("triage", "project_model.training_started"),
            ("triage", "issue.tags_confirmed"),
            ("triage", "issue.created"),
            ("admin-token", "token.created"),
        ]
        assert {entry["actor_id"] for entry in entries} == {None, created["id"]}
        assert entries[2]["subject"] == issue
        assert entries[2]["detail"] == {"tags": ["bug"]}
        assert entries[-1]["detail"] == {
            "name": "triage",
            "scopes": ["issues:read", "issues:write"],
            "projects": [],
        }

    def test_audit_log_is_filtered_and_paginated(self, tokens: Tokens, closed_api: Api) -> None:
        created = [tokens.make(f"t{number}", "issues:read")["id"] for number in range(5)]
        tokens.revoke(created[0])

        def find(**filters: str) -> list[str]:
            found, url = [], f"/api/v1/audit?{httpx.QueryParams({'limit': '2', **filters})}"
            while url:
                page = closed_api.client.get(url, headers=bearer(ADMIN))
                found += [entry["subject"] for entry in page.json()["items"]]
                url = page.links["next"]["url"] if "next" in page.links else ""
            return found

        assert find(action="token.created") == created[::-1]
        assert find(subject=created[0]) == [created[0]] * 2
        assert find(actor="unknown") == []
        assert len(find(actor="admin-token", since="2020-01-01T00:00:00Z")) == 6
        assert find(until="2020-01-01T00:00:00Z") == []

    @pytest.mark.parametrize("query", ["since=yesterday", "since=2020-01-01T00:00:00", "who=me", "cursor=x"])
    def test_audit_log_with_invalid_filter_returns_422(self, query: str, closed_api: Api, tokens: Tokens) -> None:
        del tokens
        response = closed_api.client.get(f"/api/v1/audit?{query}", headers=bearer(ADMIN))

        assert f"{query.split('=', maxsplit=1)[0]}:" in str(assert_problem(response, 422)["detail"])

    def test_audit_log_without_authentication_has_anonymous_actor(self, api: Api, database: Database) -> None:
        api.post("t")

        assert database.query("SELECT actor, actor_id FROM audit_log") == [
            {"actor": "anonymous", "actor_id": None}
        ]
        assert api.client.get("/api/v1/session").json() == {
            "name": "anonymous",
            "token_id": None,
            "scopes": ["admin", "issues:erase", "issues:ingest", "issues:read", "issues:write"],
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
    def test_request_from_other_host_is_rejected_with_403(
        self, headers: dict[str, str], api: Api, database: Database
    ) -> None:
        response = api.client.post("/api/v1/issues", json={"title": "t"}, headers=headers)

        assert_problem(response, 403)
        assert database.one("SELECT count(*) FROM issue") == 0

    def test_request_from_other_host_with_off_everywhere_is_accepted(self, new_api: ApiFactory) -> None:
        api = new_api({"AUTH": "off-everywhere"})
        elsewhere = {"Host": "issues.example.org", "X-Forwarded-For": "192.0.2.7"}

        response = api.client.post("/api/v1/issues", json={"title": "t"}, headers=elsewhere)

        assert response.status_code == 201
        foreign = {**elsewhere, "Origin": "http://evil.example"}
        assert_problem(api.client.post("/api/v1/issues", json={"title": "t"}, headers=foreign), 403)


class TestBrowsers:
    def test_response_has_security_headers(self, closed_api: Api) -> None:
        for path in ("/livez", "/api/v1/issues", "/nowhere"):
            headers = closed_api.client.get(path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]

    @pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/api/v1/issues"])
    def test_response_allows_own_scripts_and_trusted_types_only(self, path: str, closed_api: Api) -> None:
        response = closed_api.client.get(path)

        policy = dict(
            rule.strip().partition(" ")[::2] for rule in response.headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'self'"
        assert policy["require-trusted-types-for"] == "'script'"
        assert "script-src" not in policy
        assert "http" not in response.headers["content-security-policy"]
        for url in re.findall(r'(?:<link rel=.*href|src)="([^"]+)"', response.text):
            assert url.startswith("/static/"), url
            assert closed_api.client.get(url).status_code == 200, url

    def test_cors_preflight_without_allowed_origins_is_rejected(self, closed_api: Api) -> None:
        preflight = {"Origin": "https://friend.example", "Access-Control-Request-Method": "POST"}

        assert (
            "access-control-allow-origin"
            not in closed_api.client.options("/api/v1/issues", headers=preflight).headers
        )

    def test_request_with_malformed_origin_is_rejected(self, closed_api: Api) -> None:
        response = closed_api.client.post("/api/v1/issues", json={"title": "t"}, headers={"Origin": "http://[bad"})
        assert response.status_code in {401, 403}

    def test_cors_request_from_allowed_origin_is_accepted(self, new_api: ApiFactory) -> None:
        api = new_api({**CLOSED, "CORS_ORIGINS": "https://friend.example, https://other.example"})
        preflight = {
            "Origin": "https://friend.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }

        response = api.client.options("/api/v1/issues", headers=preflight)
        posted = api.client.post(
            "/api/v1/issues", json={"title": "t"}, headers={**bearer(ADMIN), "Origin": "https://friend.example"}
        )
        stranger = api.client.options("/api/v1/issues", headers={**preflight, "Origin": "https://evil.example"})

        assert response.headers["access-control-allow-origin"] == "https://friend.example"
        assert "access-control-allow-credentials" not in response.headers
        assert posted.status_code == 201
        assert posted.headers["access-control-allow-origin"] == "https://friend.example"
        assert "access-control-allow-origin" not in stranger.headers
