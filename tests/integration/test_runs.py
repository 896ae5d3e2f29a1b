"""Enrichment runs: listed, started, cancelled, and started automatically after a change."""

from pathlib import Path
from typing import Any

import pytest

from contracts.ids import new_id
from tests.conftest import ApiFactory, WorkerFactory
from tests.integration.test_issues_api import assert_problem
from tests.support.database import Database
from tests.support.latch import FileLatch
from tests.support.processes import Api
from tests.support.waiting import wait_until

FAST_SETTINGS = {"DISPATCH_POLL_SECONDS": "0.1", "REENRICH_AFTER_SECONDS": "0.5"}
PAUSED_APP = "tests.support.paused_app"


@pytest.fixture
def latch(tmp_path: Path) -> FileLatch:
    """Return the latch that pauses the workers of PAUSED_APP."""
    return FileLatch(tmp_path)


def runs_of(api: Api, issue_id: str) -> list[dict[str, Any]]:
    response = api.client.get(f"/api/v1/issues/{issue_id}/enrichments")
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


def get_issue(api: Api, issue_id: str) -> dict[str, Any]:
    issue: dict[str, Any] = api.client.get(f"/api/v1/issues/{issue_id}").json()
    return issue


def patch_issue(api: Api, issue_id: str, **changes: str) -> None:
    assert api.client.patch(f"/api/v1/issues/{issue_id}", json=changes).status_code == 200


def test_run_has_state_and_provider(new_api: ApiFactory, new_worker: WorkerFactory, database: Database) -> None:
    api = new_api(FAST_SETTINGS)
    issue_id = api.post("The export crashes").json()["id"]
    (run,) = runs_of(api, issue_id)
    assert run["state"] in {"pending", "queued"}
    assert (run["attempts"], run["summary"], run["provider"], run["finished_at"]) == (0, None, None, None)
    new_worker({})
    database.wait_for_states({"succeeded": 1})

    (run,) = runs_of(api, issue_id)

    assert (run["state"], run["attempts"], run["provider"], run["error"]) == ("succeeded", 1, "local", None)
    assert run["summary"].startswith("AI Summary: The export crashes")
    assert run["created_at"] <= run["started_at"] <= run["finished_at"]


def test_run_while_another_is_open_is_rejected_with_409(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, latch: FileLatch
) -> None:
    api = new_api(FAST_SETTINGS)
    issue_id = api.post("The export crashes").json()["id"]
    url = f"/api/v1/issues/{issue_id}/enrichments"
    (first,) = runs_of(api, issue_id)
    assert assert_problem(api.client.post(url), 409)["job_id"] == first["id"], "the pending run must be reported"
    new_worker(latch.env, app=PAUSED_APP)
    latch.wait()
    assert_problem(api.client.post(url), 409)
    latch.release()
    database.wait_for_states({"succeeded": 1})

    started = api.client.post(url)

    assert started.status_code == 202
    assert started.json()["state"] in {"pending", "queued"}
    assert started.headers["location"] == f"{url}/{started.json()['id']}"
    database.wait_for_states({"succeeded": 2})
    assert api.client.get(started.headers["location"]).json()["state"] == "succeeded"
    assert [run["id"] for run in runs_of(api, issue_id)] == [started.json()["id"], first["id"]]
    assert [(entry["action"], entry["subject"]) for entry in database.read_audit_log()] == [
        ("enrichment.started", issue_id)
    ]


@pytest.mark.parametrize("state", ["pending", "queued", "retrying"])
def test_run_in_open_state_is_cancelled(state: str, api: Api, database: Database) -> None:
    issue_id = api.post("The export crashes").json()["id"]
    wait_until(lambda: database.states() == {"queued": 1}, "the job to be queued")
    (run,) = runs_of(api, issue_id)
    if state != "queued":
        database.query("UPDATE job SET state = %s, lease_until = NULL", state)

    response = api.client.post(f"/api/v1/issues/{issue_id}/enrichments/{run['id']}/cancel")
    repeated = api.client.post(f"/api/v1/issues/{issue_id}/enrichments/{run['id']}/cancel")

    assert (response.status_code, response.json()["state"]) == (200, "cancelled")
    assert repeated.json() == response.json()
    assert get_issue(api, issue_id)["enrichment"]["status"] == "cancelled"
    assert len(database.read_audit_log()) == 1


def test_run_cancelled_while_running_writes_nothing(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, latch: FileLatch
) -> None:
    api = new_api(FAST_SETTINGS)
    worker = new_worker(latch.env, app=PAUSED_APP)
    issue_id = api.post("The export crashes").json()["id"]
    latch.wait()
    (run,) = runs_of(api, issue_id)

    response = api.client.post(f"/api/v1/issues/{issue_id}/enrichments/{run['id']}/cancel")
    latch.release()

    assert response.json()["state"] == "cancelled"
    wait_until(lambda: worker.log.has("lease_lost"), "the worker to log lease_lost")
    assert database.states() == {"cancelled": 1}
    assert get_issue(api, issue_id)["ai_summary"] is None
    # A new run can be started.
    assert api.client.post(f"/api/v1/issues/{issue_id}/enrichments").status_code == 202
    database.wait_for_states({"cancelled": 1, "succeeded": 1})
    assert get_issue(api, issue_id)["ai_summary"] is not None


def test_run_that_has_ended_cannot_be_cancelled(api: Api, database: Database) -> None:
    issue_id = api.post("The export crashes").json()["id"]
    wait_until(lambda: database.states() == {"queued": 1}, "the job to be queued")
    database.query("UPDATE job SET state = 'succeeded', lease_until = NULL, finished_at = now()")
    (run,) = runs_of(api, issue_id)

    assert_problem(api.client.post(f"/api/v1/issues/{issue_id}/enrichments/{run['id']}/cancel"), 409)
    assert runs_of(api, issue_id) == [run]


def test_unknown_run_returns_404(api: Api) -> None:
    issue_id, other_id = (api.post().json()["id"] for _ in range(2))
    (run,) = runs_of(api, other_id)

    assert_problem(api.client.get(f"/api/v1/issues/{new_id()}/enrichments"), 404)
    assert_problem(api.client.post(f"/api/v1/issues/{new_id()}/enrichments"), 404)
    for job_id in (new_id(), run["id"]):
        url = f"/api/v1/issues/{issue_id}/enrichments/{job_id}"
        assert_problem(api.client.get(url), 404)
        assert_problem(api.client.post(f"{url}/cancel"), 404)


def test_changed_issue_is_stale_until_next_run_succeeds(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api({**FAST_SETTINGS, "REENRICH_AFTER_SECONDS": "600"})
    new_worker({})
    issue_id = api.post("The export crashes").json()["id"]
    database.wait_for_states({"succeeded": 1})
    assert not get_issue(api, issue_id)["stale"]

    for number in range(4):
        patch_issue(api, issue_id, title=f"The import crashes, version {number}")
    patch_issue(api, issue_id, priority="low")

    assert get_issue(api, issue_id)["stale"]
    assert [run["state"] for run in runs_of(api, issue_id)] == ["pending", "succeeded"]
    database.query("UPDATE job SET run_at = now() WHERE state = 'pending'")
    database.wait_for_states({"succeeded": 2})
    issue = get_issue(api, issue_id)
    assert not issue["stale"]
    assert issue["ai_summary"].startswith("AI Summary: The import crashes, version 3")
    assert len(runs_of(api, issue_id)) == 2


def test_further_changes_delay_scheduled_run_up_to_limit(api: Api, database: Database) -> None:
    issue_id = api.post("The export crashes").json()["id"]
    wait_until(lambda: database.states() == {"queued": 1}, "the job to be queued")
    database.query("UPDATE job SET state = 'succeeded', lease_until = NULL, finished_at = now()")
    run_delay = "SELECT run_at - created_at FROM job WHERE state = 'pending'"

    patch_issue(api, issue_id, title="The import crashes")
    assert database.one(run_delay).total_seconds() == 5
    patch_issue(api, issue_id, title="The import hangs")
    assert database.one(run_delay).total_seconds() > 5
    assert database.one("SELECT run_at - now() FROM job WHERE state = 'pending'").total_seconds() <= 5

    database.query("UPDATE job SET created_at = now() - interval '1 hour' WHERE state = 'pending'")
    before = database.one("SELECT run_at FROM job WHERE state = 'pending'")
    patch_issue(api, issue_id, title="The import stops")
    assert database.one("SELECT run_at FROM job WHERE state = 'pending'") == before


def test_issue_changed_during_run_is_enriched_again(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, latch: FileLatch
) -> None:
    api = new_api({**FAST_SETTINGS, "REENRICH_AFTER_SECONDS": "0"})
    new_worker({**latch.env, "WORKER_CONCURRENCY": "1"}, app=PAUSED_APP)
    issue_id = api.post("The export crashes").json()["id"]
    latch.wait()

    patch_issue(api, issue_id, title="The import hangs")
    assert len(runs_of(api, issue_id)) == 2
    latch.release()

    database.wait_for_states({"succeeded": 2})
    issue = get_issue(api, issue_id)
    assert issue["ai_summary"].startswith("AI Summary: The import hangs")
    assert not issue["stale"]


def test_run_that_ends_after_newer_run_overwrites_nothing(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, latch: FileLatch
) -> None:
    api = new_api({**FAST_SETTINGS, "REENRICH_AFTER_SECONDS": "0"})
    new_worker({**latch.env, "WORKER_CONCURRENCY": "1"}, "slow", PAUSED_APP)
    issue_id = api.post("The export crashes").json()["id"]
    latch.wait()
    patch_issue(api, issue_id, title="The import hangs")
    new_worker({}, "quick")
    database.wait_for_states({"running": 1, "succeeded": 1})
    latch.release()

    database.wait_for_states({"succeeded": 2})

    issue = get_issue(api, issue_id)
    assert issue["ai_summary"].startswith("AI Summary: The import hangs")
    assert not issue["stale"]
    assert {run["summary"][:28] for run in runs_of(api, issue_id)} == {
        "AI Summary: The import hangs",
        "AI Summary: The export crash",
    }
