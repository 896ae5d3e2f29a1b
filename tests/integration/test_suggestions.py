"""Suggestions: accepted, rejected and stored as feedback. Later runs do not override decisions."""

from typing import Any

import httpx
import pytest
from psycopg2.extras import Json

from contracts.ids import new_id
from tests.conftest import ApiFactory, WorkerFactory
from tests.integration.test_issues_api import assert_problem
from tests.support.database import Database
from tests.support.processes import Api

FAST_SETTINGS = {"DISPATCH_POLL_SECONDS": "0.1", "REENRICH_AFTER_SECONDS": "0"}
SUGGESTED_TAGS = [{"name": "bug", "confidence": 0.9}, {"name": "frontend", "confidence": 0.7}]


@pytest.fixture
def issue_id(api: Api, database: Database) -> str:
    """Return the id of an issue with three suggestions: two tags and a priority."""
    issue_id: str = api.post("Export is empty").json()["id"]
    database.query(
        "INSERT INTO enrichment (job_id, issue_id, summary, tags, priority, provenance) "
        "SELECT id, issue_id, 'AI Summary: Export is empty', %s, %s, '{}' FROM job",
        Json(SUGGESTED_TAGS),
        Json({"value": "critical", "reason": "data is lost"}),
    )
    return issue_id


def decide(api: Api, issue_id: str, action: str, **choice: Any) -> httpx.Response:
    return api.client.post(f"/api/v1/issues/{issue_id}/suggestions/{action}", json=choice or None)


def verdicts(api: Api, issue_id: str) -> dict[str, str | None]:
    enrichment = api.client.get(f"/api/v1/issues/{issue_id}/enrichment").json()
    return {tag["name"]: tag["verdict"] for tag in enrichment["tags"]} | {
        "priority": enrichment["priority"]["verdict"]
    }


def test_suggestions_are_accepted_and_rejected_individually(api: Api, database: Database, issue_id: str) -> None:
    assert verdicts(api, issue_id) == {"bug": None, "frontend": None, "priority": None}

    first = decide(api, issue_id, "accept", tags=["bug"])
    assert first.status_code == 200
    assert (first.json()["tags"], first.json()["confirmed_tags"]) == (["bug"], ["bug"])
    assert first.json()["tags_confirmed_at"] is None, "the other tag has no decision yet"
    assert first.json()["priority"] == "medium"

    second = decide(api, issue_id, "reject", tags=["frontend"])
    assert second.json()["tags"] == ["bug"]
    assert second.json()["tags_confirmed_at"] is not None, "every tag has a decision"
    assert verdicts(api, issue_id) == {"bug": "accepted", "frontend": "rejected", "priority": None}

    third = decide(api, issue_id, "accept", priority=True)
    assert third.json()["priority"] == "critical"
    assert verdicts(api, issue_id)["priority"] == "accepted"

    # A later decision replaces an earlier one.
    assert decide(api, issue_id, "reject", tags=["bug"]).json()["tags"] == []
    assert decide(api, issue_id, "accept", tags=["frontend"]).json()["tags"] == ["frontend"]
    actions = [entry["action"] for entry in database.read_audit_log()]
    assert actions == [
        f"suggestions.{verdict}ed" for verdict in ("accept", "reject", "accept", "reject", "accept")
    ]
    assert database.one("SELECT confidence FROM tag_feedback WHERE tag = 'bug'") == 0.9


def test_open_issue_needs_review_until_every_suggestion_is_decided(api: Api, issue_id: str) -> None:
    api.post("An issue without suggestions")

    def list_titles(needs_review: str) -> list[str]:
        page = api.client.get("/api/v1/issues", params={"needs_review": needs_review}).json()
        assert all(issue["needs_review"] is (needs_review == "true") for issue in page["items"])
        return [issue["title"] for issue in page["items"]]

    assert list_titles("true") == ["Export is empty"]
    assert list_titles("false") == ["An issue without suggestions"]
    issue = decide(api, issue_id, "accept", tags=["bug"]).json()
    assert (issue["needs_review"], issue["suggested_tags"]) == (True, SUGGESTED_TAGS[1:])
    issue = decide(api, issue_id, "reject", tags=["frontend"]).json()
    assert (issue["needs_review"], issue["suggested_tags"]) == (True, []), "the priority has no decision yet"
    path, merge_patch = f"/api/v1/issues/{issue_id}", {"content-type": "application/merge-patch+json"}
    closed = api.client.patch(path, content='{"status": "closed"}', headers=merge_patch).json()
    assert closed["needs_review"] is False, "a closed issue must not need review"
    api.client.patch(path, content='{"status": "open"}', headers=merge_patch)
    assert list_titles("true") == ["Export is empty"]
    assert decide(api, issue_id, "reject", priority=True).json()["needs_review"] is False
    assert list_titles("true") == []


def test_rejected_priority_keeps_priority_of_reporter(api: Api, issue_id: str) -> None:
    assert decide(api, issue_id, "reject", priority=True).json()["priority"] == "medium"
    assert verdicts(api, issue_id)["priority"] == "rejected"


def test_accept_all_excludes_rejected_suggestions(api: Api, issue_id: str) -> None:
    decide(api, issue_id, "reject", tags=["frontend"])

    issue = decide(api, issue_id, "accept-all").json()

    assert (issue["tags"], issue["priority"]) == (["bug"], "critical")
    assert issue["tags_confirmed_at"] is not None
    assert verdicts(api, issue_id) == {"bug": "accepted", "frontend": "rejected", "priority": "accepted"}


def test_accepted_type_replaces_other_type(api: Api, database: Database, issue_id: str) -> None:
    api.client.put(f"/api/v1/issues/{issue_id}/tags", json={"tags": ["feature", "api"]})

    assert decide(api, issue_id, "accept", tags=["bug"]).json()["tags"] == ["api", "bug"]

    rows = database.query("SELECT tag, verdict FROM tag_feedback")
    assert {row["tag"]: row["verdict"] for row in rows} == {
        "api": "added",
        "bug": "accepted",
        "frontend": "rejected",
    }


@pytest.mark.parametrize(
    ("choice", "pointer", "rule"),
    [
        ({"tags": ["bug", "backend"]}, "#/tags/1", "not_suggested"),
        ({"tags": ["nonsense"]}, "#/tags/0", "string_pattern_mismatch"),
        ({"tags": []}, "#", "no_choice"),
        ({"tags": ["bug"], "all": True}, "#/all", "extra_forbidden"),
    ],
)
def test_decision_on_unknown_suggestion_returns_pointer(
    choice: dict[str, Any], pointer: str, rule: str, api: Api, issue_id: str
) -> None:
    problem = assert_problem(decide(api, issue_id, "accept", **choice), 422)

    assert isinstance(problem["errors"], list)
    assert [(error["pointer"], error["rule"]) for error in problem["errors"]] == [(pointer, rule)]
    assert verdicts(api, issue_id) == {"bug": None, "frontend": None, "priority": None}


def test_decision_without_suggestions_returns_problem(api: Api) -> None:
    for issue_id, status in ((api.post("No run yet").json()["id"], 409), (str(new_id()), 404)):
        assert_problem(decide(api, issue_id, "accept-all"), status)
        assert_problem(decide(api, issue_id, "reject", priority=True), status)


def test_statistics_contain_acceptance_per_tag(api: Api, issue_id: str) -> None:
    empty = api.client.get("/api/v1/stats/enrichment").json()
    assert empty == {"tags": [], "priority": {"accepted": 0, "rejected": 0, "acceptance": None}}

    decide(api, issue_id, "accept", tags=["bug"], priority=True)
    api.client.put(f"/api/v1/issues/{issue_id}/tags", json={"tags": ["bug", "api"]})

    statistics = api.client.get("/api/v1/stats/enrichment").json()
    assert statistics["priority"] == {"accepted": 1, "rejected": 0, "acceptance": 1}
    assert statistics["tags"] == [
        {"tag": "api", "accepted": 0, "rejected": 0, "added": 1, "acceptance": None},
        {"tag": "bug", "accepted": 1, "rejected": 0, "added": 0, "acceptance": 1},
        {"tag": "frontend", "accepted": 0, "rejected": 1, "added": 0, "acceptance": 0},
    ]


def test_decisions_of_person_survive_three_runs(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    """The first issue has confirmed tags, the second an accepted tag and the third a rejected tag."""
    api = new_api(FAST_SETTINGS)
    new_worker({})
    title, body = "Login button not working", "The login button on the homepage does not respond to clicks."
    tagged, accepted, rejected = (api.post(title, description=body).json()["id"] for _ in range(3))
    database.wait_for_states({"succeeded": 3})
    api.client.put(f"/api/v1/issues/{tagged}/tags", json={"tags": ["question", "testing"]})
    decide(api, accepted, "accept", tags=["frontend"])
    decide(api, rejected, "reject", tags=["frontend"])

    for run in range(1, 4):
        for issue_id in (tagged, accepted, rejected):
            if run == 2:
                # A text with other suggestions.
                api.client.patch(
                    f"/api/v1/issues/{issue_id}", json={"title": "Docs: typo in the manual", "description": ""}
                )
            else:
                assert api.client.post(f"/api/v1/issues/{issue_id}/enrichments").status_code == 202
        database.wait_for_states({"succeeded": 3 + 3 * run})
        tags = {
            name: api.client.get(f"/api/v1/issues/{issue_id}").json()["tags"]
            for name, issue_id in (("tagged", tagged), ("accepted", accepted), ("rejected", rejected))
        }
        assert tags["tagged"] == ["question", "testing"]
        assert "frontend" in tags["accepted"]
        assert "frontend" not in tags["rejected"]
