"""Models that a project's people teach, from the confirmed tag to the suggestion, and back."""

import json

import pytest

from contracts.names import Task
from devstack.network import wait_until
from tests.conftest import ApiFactory, WorkerFactory
from tests.integration.test_confirmed_tags import put_tags
from tests.integration.test_dead_letters import cli
from tests.integration.test_issues_api import assert_problem
from tests.support.database import Database
from tests.support.processes import Api

PROJECT = "acme/garden"
FAST = {"DISPATCH_POLL_SECONDS": "0.1", "RETRAIN_AFTER": "0"}
# In this project "sprout" is how people call a wish, and "wilt" how they call a defect.
PLANTS = ("rose", "tulip", "fern", "oak", "birch", "lily", "daisy", "moss", "maple", "ivy")
HABITS = [(f"Sprout the {plant} panel", "feature") for plant in PLANTS] + [
    (f"The {plant} panel wilts", "bug") for plant in PLANTS
]


def enriched(api: Api, database: Database, title: str, done: int) -> tuple[list[str], dict[str, str]]:
    """Post an issue of the project; return the suggested tags and the provenance."""
    issue_id = api.post(title, project=PROJECT).json()["id"]
    database.wait_for_states({"succeeded": done})
    made = api.client.get(f"/api/v1/issues/{issue_id}/enrichment").json()
    return [tag["name"] for tag in made["tags"]], made["provenance"]


def train(api: Api, database: Database) -> None:
    ended = "SELECT count(*) FROM job WHERE queue = 'default' AND task = %s AND state = 'succeeded'"
    before = database.one(ended, Task.RETRAIN)
    assert cli(api, "model", "train", "--project", PROJECT).returncode == 0
    wait_until(lambda: database.one(ended, Task.RETRAIN) > before, 60, "the training to end")


def test_a_project_teaches_its_habits_and_takes_them_back(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api(FAST)
    for title, tag in HABITS:
        put_tags(api, api.post(title, project=PROJECT).json()["id"], tag)
    new_worker({})
    database.wait_for_states({"succeeded": len(HABITS)})
    assert "feature" not in enriched(api, database, "Sprout the cactus panel", len(HABITS) + 1)[0]

    train(api, database)

    status = json.loads(cli(api, "model", "status", "--project", PROJECT, "--json").stdout)
    assert status["confirmed_issues"] == len(HABITS)
    (model,) = [model for model in status["models"] if model["kind"] == "type"]
    assert model["is_active"]
    assert model["metrics"]["candidate"]["accuracy"] > model["metrics"]["active"]["accuracy"]
    tags, provenance = enriched(api, database, "Sprout the nettle panel", len(HABITS) + 3)
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
    ], "nothing new was learned, so nothing changes"

    assert cli(api, "model", "rollback", "--project", PROJECT).returncode == 0
    assert "feature" not in enriched(api, database, "Sprout the thistle panel", len(HABITS) + 5)[0]
    refused = cli(api, "model", "rollback", "--project", PROJECT)
    assert refused.returncode == 2
    assert refused.stderr == f"issuetracker: No type model of project {PROJECT} is active.\n"


def test_too_few_confirmed_issues_teach_nothing(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api(FAST)
    put_tags(api, api.post("One issue", project=PROJECT).json()["id"], "bug")
    new_worker({})

    assert api.client.post("/api/v1/models/train", json={"project": PROJECT}).status_code == 202

    database.wait_for_states({"succeeded": 1, "skipped": 1})
    assert api.client.get("/api/v1/models", params={"project": PROJECT}).json()["models"] == []


def test_a_second_call_while_a_training_waits_changes_nothing(api: Api, database: Database) -> None:
    first = api.client.post("/api/v1/models/train", json={"project": PROJECT}).json()
    second = api.client.post("/api/v1/models/train", json={"project": PROJECT}).json()

    assert first["training"]["job_id"] == second["training"]["job_id"]
    assert database.one("SELECT count(*) FROM job") == 1


@pytest.mark.parametrize("project", ["", "Acme", "-a", "a" * 101, "a b"])
def test_a_bad_project_is_named(api: Api, project: str) -> None:
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
    api = new_api(FAST)
    for title, tag in HABITS:
        put_tags(api, api.post(title, project=PROJECT).json()["id"], tag)
    new_worker({})
    database.wait_for_states({"succeeded": len(HABITS)})
    train(api, database)
    database.query(f"UPDATE project_model SET {change}")

    tags, provenance = enriched(api, database, "Sprout the nettle panel", len(HABITS) + 2)

    assert "feature" not in tags
    assert "learned" not in provenance
