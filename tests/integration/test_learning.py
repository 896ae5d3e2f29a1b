"""Project models: training from confirmed labels, use in suggestions, and rollback."""

import json

import pytest

from contracts.names import Task
from tests.conftest import ApiFactory, WorkerFactory
from tests.integration.test_confirmed_tags import put_tags
from tests.integration.test_dead_letters import cli
from tests.integration.test_issues_api import assert_problem
from tests.support.database import Database
from tests.support.processes import Api
from tests.support.waiting import wait_until

PROJECT = "acme/garden"
FAST_SETTINGS = {"DISPATCH_POLL_SECONDS": "0.1", "RETRAIN_AFTER": "0"}
# In this project, "sprout" marks a feature request and "wilt" marks a bug.
PLANTS = ("rose", "tulip", "fern", "oak", "birch", "lily", "daisy", "moss", "maple", "ivy")
CONFIRMED_ISSUES = [(f"Sprout the {plant} panel", "feature") for plant in PLANTS] + [
    (f"The {plant} panel wilts", "bug") for plant in PLANTS
]


def enrich_new_issue(api: Api, database: Database, title: str, done: int) -> tuple[list[str], dict[str, str]]:
    """Post an issue of the project. Return the suggested tags and the provenance."""
    issue_id = api.post(title, project=PROJECT).json()["id"]
    database.wait_for_states({"succeeded": done})
    enrichment = api.client.get(f"/api/v1/issues/{issue_id}/enrichment").json()
    return [tag["name"] for tag in enrichment["tags"]], enrichment["provenance"]


def train(api: Api, database: Database) -> None:
    completed_trainings = "SELECT count(*) FROM job WHERE queue = 'default' AND task = %s AND state = 'succeeded'"
    before = database.one(completed_trainings, Task.RETRAIN)
    assert cli(api, "model", "train", "--project", PROJECT).returncode == 0
    wait_until(lambda: database.one(completed_trainings, Task.RETRAIN) > before, "the training to end")


def test_project_model_is_trained_used_and_rolled_back(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api(FAST_SETTINGS)
    for title, tag in CONFIRMED_ISSUES:
        put_tags(api, api.post(title, project=PROJECT).json()["id"], tag)
    new_worker({})
    database.wait_for_states({"succeeded": len(CONFIRMED_ISSUES)})
    assert (
        "feature" not in enrich_new_issue(api, database, "Sprout the cactus panel", len(CONFIRMED_ISSUES) + 1)[0]
    )

    train(api, database)

    status = json.loads(cli(api, "model", "status", "--project", PROJECT, "--json").stdout)
    assert status["confirmed_issues"] == len(CONFIRMED_ISSUES)
    (model,) = [model for model in status["models"] if model["kind"] == "type"]
    assert model["is_active"]
    assert model["metrics"]["candidate"]["accuracy"] > model["metrics"]["active"]["accuracy"]
    tags, provenance = enrich_new_issue(api, database, "Sprout the nettle panel", len(CONFIRMED_ISSUES) + 3)
    assert "feature" in tags
    assert model["id"] in provenance["learned"]
    printed = cli(api, "model", "status", "--project", PROJECT).stdout
    assert f"{model['id']}" in printed
    assert "active" in printed

    train(api, database)
    status = json.loads(cli(api, "model", "status", "--project", PROJECT, "--json").stdout)
    assert [(m["id"], m["is_active"]) for m in status["models"] if m["kind"] == "type"][1] == (model["id"], True)
    assert "project_model.kept_inactive" in [
        entry["action"] for entry in database.query("SELECT action FROM audit_log")
    ], "a model that is not better must stay inactive"

    assert cli(api, "model", "rollback", "--project", PROJECT).returncode == 0
    assert (
        "feature" not in enrich_new_issue(api, database, "Sprout the thistle panel", len(CONFIRMED_ISSUES) + 5)[0]
    )
    result = cli(api, "model", "rollback", "--project", PROJECT)
    assert result.returncode == 2
    assert result.stderr == f"issuetracker: Project {PROJECT} has no active type model to roll back.\n"


def test_training_with_too_few_confirmed_issues_is_skipped(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api(FAST_SETTINGS)
    put_tags(api, api.post("One issue", project=PROJECT).json()["id"], "bug")
    new_worker({})

    assert api.client.post("/api/v1/models/train", json={"project": PROJECT}).status_code == 202

    database.wait_for_states({"succeeded": 1, "skipped": 1})
    assert api.client.get("/api/v1/models", params={"project": PROJECT}).json()["models"] == []


def test_second_training_request_returns_pending_job(api: Api, database: Database) -> None:
    first = api.client.post("/api/v1/models/train", json={"project": PROJECT}).json()
    second = api.client.post("/api/v1/models/train", json={"project": PROJECT}).json()

    assert first["training"]["job_id"] == second["training"]["job_id"]
    assert database.one("SELECT count(*) FROM job") == 1


@pytest.mark.parametrize("project", ["", "Acme", "-a", "a" * 101, "a b"])
def test_invalid_project_is_rejected_with_422(api: Api, project: str) -> None:
    assert_problem(api.client.post("/api/v1/models/train", json={"project": project}), 422)
    assert_problem(api.client.get("/api/v1/models", params={"project": project}), 422)
    assert_problem(api.post("Title", project=project), 422)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("parameters = substr(parameters, 2)", id="damaged"),
        pytest.param(
            "parameters = 'IssueTracker model 1\n', sha256 = sha256('IssueTracker model 1\n')",
            id="format_before_safetensors",
        ),
    ],
)
def test_model_that_cannot_be_read_is_not_used(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, change: str
) -> None:
    api = new_api(FAST_SETTINGS)
    for title, tag in CONFIRMED_ISSUES:
        put_tags(api, api.post(title, project=PROJECT).json()["id"], tag)
    new_worker({})
    database.wait_for_states({"succeeded": len(CONFIRMED_ISSUES)})
    train(api, database)
    database.query(f"UPDATE project_model SET {change}")

    tags, provenance = enrich_new_issue(api, database, "Sprout the nettle panel", len(CONFIRMED_ISSUES) + 2)

    assert "feature" not in tags
    assert "learned" not in provenance
