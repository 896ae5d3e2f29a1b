"""Tokens with the scope `issues:ingest` create issues in their projects, and nothing else."""

from typing import Any

import pytest

from tests.integration.test_issues_api import assert_problem
from tests.support.access import ADMIN, Tokens, bearer
from tests.support.cli import run_cli
from tests.support.database import Database
from tests.support.processes import Api


def test_response_of_ingest_has_only_id_project_and_path(
    closed_api: Api, tokens: Tokens, database: Database
) -> None:
    token = tokens.make("form", "issues:ingest", projects=["acme/shop"])["token"]

    created = closed_api.client.post(
        "/api/v1/issues", json={"title": "t", "project": "acme/shop"}, headers=bearer(token)
    )

    assert created.status_code == 201
    path = f"/api/v1/issues/{created.json()['id']}"
    assert created.json() == {"id": created.json()["id"], "project": "acme/shop", "url": path}
    assert created.headers["location"] == path
    assert "etag" not in created.headers
    assert_problem(closed_api.client.get(path, headers=bearer(token)), 403)
    assert closed_api.client.get(path, headers=bearer(ADMIN)).json()["title"] == "t"
    assert database.one("SELECT count(*) FROM job") == 1


def test_issue_without_project_gets_only_project_of_token(closed_api: Api, tokens: Tokens) -> None:
    token = tokens.make("form", "issues:ingest", projects=["acme/shop"])["token"]

    created = closed_api.client.post("/api/v1/issues", json={"title": "t"}, headers=bearer(token))

    assert created.json()["project"] == "acme/shop"


@pytest.mark.parametrize("project", [{"project": "other"}, {"project": "default"}, {}])
def test_ingest_into_other_project_returns_403(
    project: dict[str, str], closed_api: Api, tokens: Tokens, database: Database
) -> None:
    token = tokens.make("form", "issues:ingest", projects=["acme/web", "acme/shop"])["token"]

    response = closed_api.client.post("/api/v1/issues", json={"title": "t", **project}, headers=bearer(token))

    named = project.get("project", "default")
    detail = assert_problem(response, 403)["detail"]
    assert detail == f'project: "{named}" is not allowed for form. Use acme/shop or acme/web.'
    assert database.one("SELECT count(*) FROM issue") == 0


def test_ingest_with_external_id_returns_403(closed_api: Api, tokens: Tokens, database: Database) -> None:
    body = {"title": "t", "external": {"source": "jira:shop", "id": "7"}}
    token = tokens.make("form", "issues:ingest", projects=["default"])["token"]

    response = closed_api.client.post("/api/v1/issues", json=body, headers=bearer(token))

    assert "external: form may not set it" in str(assert_problem(response, 403)["detail"])
    assert database.one("SELECT count(*) FROM issue") == 0


def test_ingest_token_cannot_log_in(closed_api: Api, tokens: Tokens, database: Database) -> None:
    token = tokens.make("form", "issues:ingest", projects=["default"])["token"]

    assert_problem(closed_api.client.post("/api/v1/session", json={"token": token}), 403)

    assert database.one("SELECT count(*) FROM api_session") == 0
    for path in ("/api/v1/session", "/api/v1/sessions"):
        assert_problem(closed_api.client.get(path, headers=bearer(token)), 403)


def test_reader_that_posts_gets_command_that_works(closed_api: Api, tokens: Tokens) -> None:
    token = tokens.make("reader", "issues:read")["token"]

    response = closed_api.client.post("/api/v1/issues", json={"title": "t"}, headers=bearer(token))

    assert "--scope issues:ingest --project PROJECT" in str(assert_problem(response, 403)["detail"])


def test_idempotency_key_of_another_token_returns_nothing_of_it(closed_api: Api, tokens: Tokens) -> None:
    form, other = (tokens.make(name, "issues:ingest", projects=["default"])["token"] for name in ("form", "other"))
    first, again, foreign = (
        closed_api.client.post(
            "/api/v1/issues", json={"title": "t"}, headers={**bearer(token), "Idempotency-Key": "once"}
        )
        for token in (form, form, other)
    )

    assert again.json() == first.json()
    assert foreign.status_code == 201
    assert foreign.json()["id"] != first.json()["id"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scopes": ["issues:ingest"]}, "issues:ingest requires projects: name at least one."),
        (
            {"scopes": ["issues:ingest", "issues:read"], "projects": ["a"]},
            "issues:ingest cannot be combined with other scopes.",
        ),
        (
            {"scopes": ["issues:write"], "projects": ["a"]},
            "Only a token with the scope issues:ingest can have projects.",
        ),
        ({"scopes": ["issues:ingest"], "projects": ["no spaces"]}, "projects.0:"),
    ],
)
def test_token_with_wrong_projects_returns_422(fields: dict[str, Any], message: str, closed_api: Api) -> None:
    response = closed_api.client.post("/api/v1/tokens", json={"name": "form", **fields}, headers=bearer(ADMIN))

    assert message in str(assert_problem(response, 422)["detail"])


def test_cli_creates_and_lists_ingest_token(closed_api: Api, tokens: Tokens) -> None:
    del tokens
    env = {"ISSUETRACKER_TOKEN": ADMIN}
    arguments = ("--scope", "issues:ingest", "--project", "acme/shop", "--project", "acme/web")

    token = run_cli(
        str(closed_api.client.base_url), "tokens", "create", "form", *arguments, env=env
    ).stdout.strip()
    listed = run_cli(str(closed_api.client.base_url), "tokens", "list", env=env).stdout

    created = closed_api.client.post(
        "/api/v1/issues", json={"title": "t", "project": "acme/web"}, headers=bearer(token)
    )
    assert created.status_code == 201
    assert "acme/shop,acme/web" in listed
