"""Sessions that a principal lists and ends, and that end without use."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from contracts.ids import new_id
from tests.conftest import ApiFactory
from tests.integration.test_issues_api import assert_problem
from tests.support.access import ADMIN, CLOSED, Tokens, bearer
from tests.support.cli import run_cli
from tests.support.database import Database
from tests.support.processes import Api
from tests.support.waiting import wait_until

Login = Callable[[str], httpx.Client]


@pytest.fixture
def log_in(closed_api: Api) -> Iterator[Login]:
    """Yield a function that logs in with a token and returns the browser."""
    with ExitStack() as stack:

        def start(token: str) -> httpx.Client:
            browser = stack.enter_context(httpx.Client(base_url=closed_api.client.base_url, timeout=60))
            assert browser.post("/api/v1/session", json={"token": token}).status_code == 200
            return browser

        yield start


def list_sessions(api: Api, token: str) -> list[dict[str, str]]:
    response = api.client.get("/api/v1/sessions", headers=bearer(token))
    assert response.status_code == 200
    items: list[dict[str, str]] = response.json()["items"]
    return items


def test_token_lists_and_ends_only_its_own_sessions(closed_api: Api, tokens: Tokens, log_in: Login) -> None:
    alice, bob = (tokens.make(name, "issues:read")["token"] for name in ("alice", "bob"))
    lost, kept, foreign = log_in(alice), log_in(alice), log_in(bob)

    (newer, older), (of_bob,) = list_sessions(closed_api, alice), list_sessions(closed_api, bob)
    assert newer["created_at"] > older["created_at"]
    assert older["address"] == "127.0.0.1"
    assert kept.get("/api/v1/sessions").json()["items"] == [newer, older]
    assert_problem(kept.delete(f"/api/v1/sessions/{of_bob['id']}"), 404)
    assert kept.delete(f"/api/v1/sessions/{older['id']}").status_code == 204
    assert_problem(kept.delete(f"/api/v1/sessions/{older['id']}"), 404)

    assert "The session has ended" in str(assert_problem(lost.get("/api/v1/issues"), 401)["detail"])
    assert [browser.get("/api/v1/issues").status_code for browser in (kept, foreign)] == [200, 200]


def test_admin_token_lists_its_sessions(closed_api: Api, tokens: Tokens, log_in: Login) -> None:
    log_in(tokens.make("alice", "admin")["token"])
    log_in(ADMIN)

    assert len(list_sessions(closed_api, ADMIN)) == 1


def test_session_without_use_for_two_hours_ends(
    closed_api: Api, tokens: Tokens, database: Database, log_in: Login
) -> None:
    token = tokens.make("alice", "issues:read")["token"]
    used, idle = log_in(token), log_in(token)
    forget = tokens.make("forget", "issues:read")["id"]
    database.query("UPDATE api_session SET last_used_at = now() - interval '119 minutes'")
    tokens.revoke(forget)  # so that this process queries the database again

    assert used.get("/api/v1/issues").status_code == 200
    database.query(
        "UPDATE api_session SET last_used_at = now() - interval '121 minutes'"
        " WHERE last_used_at < now() - interval '1 minute'"
    )

    tokens.revoke(forget)
    assert used.get("/api/v1/issues").status_code == 200
    assert "The session expired at" in str(assert_problem(idle.get("/api/v1/issues"), 401)["detail"])
    assert len(list_sessions(closed_api, token)) == 1


def test_session_used_just_before_its_end_continues(new_api: ApiFactory, database: Database) -> None:
    """The process has cached the end that the session had before this use."""
    api = new_api({**CLOSED, "CREDENTIALS_CACHE_SECONDS": "600"})
    with httpx.Client(base_url=api.client.base_url, timeout=60) as browser:
        assert browser.post("/api/v1/session", json={"token": ADMIN}).status_code == 200
        ends = database.one(
            "UPDATE api_session SET last_used_at = now() - interval '1 h 59 min 50 s'"
            " RETURNING last_used_at + interval '2 h'"
        )
        assert browser.get("/api/v1/issues").status_code == 200
        wait_until(lambda: bool(database.one("SELECT clock_timestamp() > %s", ends)), "the former end")

        assert browser.get("/api/v1/issues").status_code == 200


def test_login_deletes_only_expired_sessions(tokens: Tokens, database: Database, log_in: Login) -> None:
    """An API of the previous release stores no use, so an idle session may be in use there."""
    token = tokens.make("alice", "issues:read")["token"]
    log_in(token)
    database.query("UPDATE api_session SET expires_at = now() - interval '1 s'")
    log_in(token)
    database.query("UPDATE api_session SET last_used_at = now() - interval '3 h'")
    log_in(token)

    idle = "SELECT last_used_at < now() - interval '2 h' AS is_idle FROM api_session ORDER BY created_at"
    assert [row["is_idle"] for row in database.query(idle)] == [True, False]


def test_end_of_session_is_audited(closed_api: Api, tokens: Tokens, log_in: Login) -> None:
    token = tokens.make("alice", "issues:read")["token"]
    browser = log_in(token)
    browser.delete(f"/api/v1/sessions/{list_sessions(closed_api, token)[0]['id']}")

    entries = closed_api.client.get("/api/v1/audit", headers=bearer(ADMIN)).json()["items"]
    assert [(entry["actor"], entry["action"]) for entry in entries[:2]] == [
        ("alice", "session.ended"),
        ("alice", "session.started"),
    ]


def test_cli_lists_and_ends_sessions(closed_api: Api, tokens: Tokens, log_in: Login) -> None:
    token = tokens.make("alice", "issues:read")["token"]
    browser = log_in(token)
    url, env = str(closed_api.client.base_url), {"ISSUETRACKER_TOKEN": token}
    session = list_sessions(closed_api, token)[0]["id"]

    assert session in run_cli(url, "sessions", "list", env=env).stdout
    assert run_cli(url, "sessions", "end", session, env=env).stdout == f"{session} has ended\n"
    unknown = run_cli(url, "sessions", "end", str(new_id()), env=env)

    assert browser.get("/api/v1/issues").status_code == 401
    assert "does not exist" in unknown.stderr
