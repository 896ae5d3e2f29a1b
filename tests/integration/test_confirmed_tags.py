"""Confirmed tags: stored unchanged, separate from suggestions, and used for training."""

from typing import Any

import pytest
from psycopg2.extras import Json

from contracts.ids import new_id
from tests.conftest import ApiFactory, WorkerFactory
from tests.integration.test_issues_api import assert_problem
from tests.support.database import Database
from tests.support.processes import Api
from tests.support.schedules import run_schedule


def put_tags(api: Api, issue_id: str, *tags: str) -> Any:
    return api.client.put(f"/api/v1/issues/{issue_id}/tags", json={"tags": list(tags)})


def feedback(database: Database) -> dict[str, str]:
    return {row["tag"]: row["verdict"] for row in database.query("SELECT tag, verdict FROM tag_feedback")}


def test_confirmed_tags_replace_previous_tags(api: Api) -> None:
    issue = api.post("Export is empty").json()
    assert (issue["tags"], issue["tags_confirmed_at"]) == ([], None)

    response = put_tags(api, issue["id"], "bug", "backend", "lang:fr")

    assert response.status_code == 200
    assert response.json()["tags"] == ["bug", "backend", "lang:fr"]
    assert response.json()["tags_confirmed_at"] is not None
    assert put_tags(api, issue["id"]).json()["tags"] == []


@pytest.mark.parametrize(
    ("tags", "rule"),
    [
        (["urgent"], "tag"),
        (["lang:french"], "tag"),
        (["bug", "bug"], "unique"),
        (["bug", "feature"], "one_type"),
        (["bug"] * 11, "too_long"),
        ("bug", "list_type"),
    ],
)
def test_confirmed_tags_outside_vocabulary_are_rejected_with_422(api: Api, tags: object, rule: str) -> None:
    issue_id = api.post("Export is empty").json()["id"]

    problem = assert_problem(api.client.put(f"/api/v1/issues/{issue_id}/tags", json={"tags": tags}), 422)

    assert isinstance(problem["errors"], list)
    assert [(error["pointer"], error["rule"]) for error in problem["errors"]] == [("#/tags", rule)]
    assert "{" not in str(problem["detail"]), "the message must contain the values of the rule"
    assert api.client.get(f"/api/v1/issues/{issue_id}").json()["tags_confirmed_at"] is None


def test_confirmed_tags_of_unknown_issue_return_404(api: Api, database: Database) -> None:
    assert_problem(put_tags(api, str(new_id()), "bug"), 404)
    assert database.read_audit_log() == []


def test_confirmed_tags_store_verdict_per_suggestion(api: Api, database: Database) -> None:
    issue_id = api.post("Export is empty").json()["id"]
    suggested = [{"name": "bug", "confidence": 0.9}, {"name": "frontend", "confidence": 0.7}]
    database.query(
        "INSERT INTO enrichment (job_id, issue_id, summary, tags, provenance) "
        "SELECT id, issue_id, 'AI Summary: Export is empty', %s, '{}' FROM job",
        Json(suggested),
    )

    put_tags(api, issue_id, "bug", "api")
    assert feedback(database) == {"bug": "accepted", "frontend": "rejected", "api": "added"}

    put_tags(api, issue_id, "frontend")
    assert feedback(database) == {"bug": "rejected", "frontend": "accepted"}
    assert database.one("SELECT confidence FROM tag_feedback WHERE tag = 'bug'") == 0.9
    actions = database.read_audit_log()
    assert [entry["action"] for entry in actions] == ["issue.tags_confirmed"] * 2
    assert actions[0]["subject"] == issue_id
    assert actions[0]["detail"] == {"tags": ["bug", "api"]}


def test_confirmed_tags_after_enrichment_are_unchanged(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api({"DISPATCH_POLL_SECONDS": "0.1"})
    issue_id = api.post("The export crashes", description="It fails with an error since Monday.").json()["id"]
    put_tags(api, issue_id, "question")

    new_worker({})

    database.wait_for_states({"succeeded": 1})
    issue = api.client.get(f"/api/v1/issues/{issue_id}").json()
    assert issue["tags"] == ["question"]
    assert issue["ai_summary"].startswith("AI Summary: The export crashes")
    enrichment = api.client.get(f"/api/v1/issues/{issue_id}/enrichment").json()
    assert "bug" in [tag["name"] for tag in enrichment["tags"]], "the suggestion must be stored separately"


def test_enrichment_has_confidence_and_provenance(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api({"DISPATCH_POLL_SECONDS": "0.1"})
    issue_id = api.post("All records are lost after the upgrade to 2.0", priority="low").json()["id"]
    assert_problem(api.client.get(f"/api/v1/issues/{issue_id}/enrichment"), 404)
    new_worker({})
    database.wait_for_states({"succeeded": 1})

    enrichment = api.client.get(f"/api/v1/issues/{issue_id}/enrichment").json()

    assert enrichment["summary"] == "AI Summary: All records are lost after the upgrade to 2.0"
    assert all(0 < tag["confidence"] < 1 for tag in enrichment["tags"])
    assert enrichment["priority"]["value"] == "critical"
    assert "lost" in enrichment["priority"]["reason"]
    assert api.client.get(f"/api/v1/issues/{issue_id}").json()["priority"] == "low"
    provenance = enrichment["provenance"]
    assert (provenance["provider"], len(provenance["input_sha256"])) == ("local", 64)
    assert {"model", "version", "contract_version", "duration_ms"} <= provenance.keys()


def count_trainings(database: Database) -> int:
    """Run the schedule, and return the number of training jobs."""
    run_schedule(database, "retrain")
    number: int = database.one("SELECT count(*) FROM job WHERE task = 'app.tasks.maintenance.retrain'")
    return number


def test_confirmed_tags_of_enough_issues_start_one_training(new_api: ApiFactory, database: Database) -> None:
    api = new_api({"RETRAIN_AFTER": "3"})
    ids = [api.post(f"Issue {number}", project="acme/shop").json()["id"] for number in range(5)]

    put_tags(api, ids[0], "bug")
    put_tags(api, ids[1], "bug")
    assert count_trainings(database) == 0

    put_tags(api, ids[2], "bug")
    put_tags(api, ids[3], "bug")
    assert count_trainings(database) == 1
    assert count_trainings(database) == 1, "a training is unfinished"
    assert database.one("SELECT message->>'project' FROM job WHERE queue = 'default'") == "acme/shop"


def test_confirmed_tags_without_examples_start_no_training(new_api: ApiFactory, database: Database) -> None:
    api = new_api({"RETRAIN_AFTER": "2"})
    ids = [api.post(f"Issue {number}", project="acme/shop").json()["id"] for number in range(4)]

    put_tags(api, ids[0], "bug")
    put_tags(api, ids[1])
    put_tags(api, ids[2], "lang:fr")
    assert count_trainings(database) == 0

    put_tags(api, ids[3], "frontend")
    assert count_trainings(database) == 1


def test_enrichment_with_ai_suggest_sets_no_tags(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api({"DISPATCH_POLL_SECONDS": "0.1"})
    issue_id = api.post("The export crashes", description="It fails with an error since Monday.").json()["id"]
    new_worker({"AI": "suggest"})
    database.wait_for_states({"succeeded": 1})

    issue = api.client.get(f"/api/v1/issues/{issue_id}").json()
    assert issue["tags"] == []
    assert issue["ai_summary"].startswith("AI Summary: The export crashes")
    assert api.client.get(f"/api/v1/issues/{issue_id}/enrichment").json()["tags"][0]["name"] == "bug"


def test_enrichment_with_ai_off_is_skipped(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api({"DISPATCH_POLL_SECONDS": "0.1"})
    issue_id = api.post("The export crashes").json()["id"]
    new_worker({"AI": "off"})
    database.wait_for_states({"skipped": 1})

    issue = api.client.get(f"/api/v1/issues/{issue_id}").json()
    assert (issue["ai_summary"], issue["tags"], issue["enrichment"]["status"]) == (None, [], "skipped")
