"""Enrichment runs: listed, started, cancelled, and started by themselves when a text has changed."""

from pathlib import Path
from typing import Any

import pytest

from contracts.ids import new_id
from devstack.network import wait_until
from tests.conftest import ApiFactory, WorkerFactory
from tests.integration.test_issues_api import assert_problem
from tests.support.database import Database
from tests.support.latch import FileLatch
from tests.support.processes import Api

FAST = {"DISPATCH_POLL_SECONDS": "0.1", "REENRICH_AFTER_SECONDS": "0.5"}
PAUSED_APP = "tests.support.paused_app"


@pytest.fixture
def latch(tmp_path: Path) -> FileLatch:
    """Holds the workers of HELD."""
    return FileLatch(tmp_path)


def runs_of(api: Api, issue_id: str) -> list[dict[str, Any]]:
    answer = api.client.get(f"/api/v1/issues/{issue_id}/enrichments")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def get(api: Api, issue_id: str) -> dict[str, Any]:
    issue: dict[str, Any] = api.client.get(f"/api/v1/issues/{issue_id}").json()
    return issue


def patch(api: Api, issue_id: str, **changes: str) -> None:
    assert api.client.patch(f"/api/v1/issues/{issue_id}", json=changes).status_code == 200


def test_each_run_tells_how_far_it_has_come_and_who_made_it(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api(FAST)
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


def test_a_run_is_started_once_at_a_time(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, latch: FileLatch
) -> None:
    api = new_api(FAST)
    issue_id = api.post("The export crashes").json()["id"]
    url = f"/api/v1/issues/{issue_id}/enrichments"
    (first,) = runs_of(api, issue_id)
    assert assert_problem(api.client.post(url), 409)["job_id"] == first["id"], "it waits"
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
    assert [(entry["action"], entry["subject"]) for entry in database.audited()] == [
        ("enrichment.started", issue_id)
    ]


@pytest.mark.parametrize("state", ["pending", "queued", "retrying"])
def test_a_waiting_run_is_cancelled(state: str, api: Api, database: Database) -> None:
    issue_id = api.post("The export crashes").json()["id"]
    wait_until(lambda: database.states() == {"queued": 1}, 30, "the job to be queued")
    (run,) = runs_of(api, issue_id)
    if state != "queued":
        database.query("UPDATE job SET state = %s, lease_until = NULL", state)

    answer = api.client.post(f"/api/v1/issues/{issue_id}/enrichments/{run['id']}/cancel")
    again = api.client.post(f"/api/v1/issues/{issue_id}/enrichments/{run['id']}/cancel")

    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert again.json() == answer.json()
    assert get(api, issue_id)["enrichment"]["status"] == "cancelled"
    assert len(database.audited()) == 1


def test_a_run_that_is_cancelled_under_way_writes_nothing(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, latch: FileLatch
) -> None:
    api = new_api(FAST)
    worker = new_worker(latch.env, app=PAUSED_APP)
    issue_id = api.post("The export crashes").json()["id"]
    latch.wait()
    (run,) = runs_of(api, issue_id)

    answer = api.client.post(f"/api/v1/issues/{issue_id}/enrichments/{run['id']}/cancel")
    latch.release()

    assert answer.json()["state"] == "cancelled"
    wait_until(lambda: worker.log.has("lease_lost"), 60, "the worker to notice")
    assert database.states() == {"cancelled": 1}
    assert get(api, issue_id)["ai_summary"] is None
    # It can be had again.
    assert api.client.post(f"/api/v1/issues/{issue_id}/enrichments").status_code == 202
    database.wait_for_states({"cancelled": 1, "succeeded": 1})
    assert get(api, issue_id)["ai_summary"] is not None


def test_a_run_that_is_over_cannot_be_cancelled(api: Api, database: Database) -> None:
    issue_id = api.post("The export crashes").json()["id"]
    wait_until(lambda: database.states() == {"queued": 1}, 30, "the job to be queued")
    database.query("UPDATE job SET state = 'succeeded', lease_until = NULL, finished_at = now()")
    (run,) = runs_of(api, issue_id)

    assert_problem(api.client.post(f"/api/v1/issues/{issue_id}/enrichments/{run['id']}/cancel"), 409)
    assert runs_of(api, issue_id) == [run]


def test_unknown_runs_are_problems(api: Api) -> None:
    issue_id, other_id = (api.post().json()["id"] for _ in range(2))
    (run,) = runs_of(api, other_id)

    assert_problem(api.client.get(f"/api/v1/issues/{new_id()}/enrichments"), 404)
    assert_problem(api.client.post(f"/api/v1/issues/{new_id()}/enrichments"), 404)
    for job_id in (new_id(), run["id"]):
        url = f"/api/v1/issues/{issue_id}/enrichments/{job_id}"
        assert_problem(api.client.get(url), 404)
        assert_problem(api.client.post(f"{url}/cancel"), 404)


def test_a_changed_text_is_stale_until_one_run_has_read_it(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api({**FAST, "REENRICH_AFTER_SECONDS": "2"})
    new_worker({})
    issue_id = api.post("The export crashes").json()["id"]
    database.wait_for_states({"succeeded": 1})
    assert not get(api, issue_id)["stale"]

    for number in range(4):
        patch(api, issue_id, title=f"The import crashes, version {number}")
    patch(api, issue_id, priority="low")

    assert get(api, issue_id)["stale"]
    assert [run["state"] for run in runs_of(api, issue_id)] == ["pending", "succeeded"]
    database.wait_for_states({"succeeded": 2})
    issue = get(api, issue_id)
    assert not issue["stale"]
    assert issue["ai_summary"].startswith("AI Summary: The import crashes, version 3")
    assert len(runs_of(api, issue_id)) == 2


def test_further_changes_put_the_planned_run_off_but_not_for_ever(api: Api, database: Database) -> None:
    issue_id = api.post("The export crashes").json()["id"]
    wait_until(lambda: database.states() == {"queued": 1}, 30, "the job to be queued")
    database.query("UPDATE job SET state = 'succeeded', lease_until = NULL, finished_at = now()")
    planned = "SELECT run_at - created_at FROM job WHERE state = 'pending'"

    patch(api, issue_id, title="The import crashes")
    assert database.one(planned).total_seconds() == 5
    patch(api, issue_id, title="The import hangs")
    assert 5 < database.one(planned).total_seconds() < 20

    database.query("UPDATE job SET created_at = now() - interval '1 hour' WHERE state = 'pending'")
    before = database.one("SELECT run_at FROM job WHERE state = 'pending'")
    patch(api, issue_id, title="The import stops")
    assert database.one("SELECT run_at FROM job WHERE state = 'pending'") == before


def test_a_text_that_changes_while_it_is_enriched_is_enriched_again(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, latch: FileLatch
) -> None:
    api = new_api({**FAST, "REENRICH_AFTER_SECONDS": "0"})
    new_worker({**latch.env, "WORKER_CONCURRENCY": "1"}, app=PAUSED_APP)
    issue_id = api.post("The export crashes").json()["id"]
    latch.wait()

    patch(api, issue_id, title="The import hangs")
    assert len(runs_of(api, issue_id)) == 2
    latch.release()

    database.wait_for_states({"succeeded": 2})
    issue = get(api, issue_id)
    assert issue["ai_summary"].startswith("AI Summary: The import hangs")
    assert not issue["stale"]


def test_a_run_that_ends_after_a_later_one_overwrites_nothing(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, latch: FileLatch
) -> None:
    api = new_api({**FAST, "REENRICH_AFTER_SECONDS": "0"})
    new_worker({**latch.env, "WORKER_CONCURRENCY": "1"}, "slow", PAUSED_APP)
    issue_id = api.post("The export crashes").json()["id"]
    latch.wait()
    patch(api, issue_id, title="The import hangs")
    new_worker({}, "quick")
    database.wait_for_states({"running": 1, "succeeded": 1})
    latch.release()

    database.wait_for_states({"succeeded": 2})

    issue = get(api, issue_id)
    assert issue["ai_summary"].startswith("AI Summary: The import hangs")
    assert not issue["stale"]
    assert {run["summary"][:28] for run in runs_of(api, issue_id)} == {
        "AI Summary: The import hangs",
        "AI Summary: The export crash",
    }
