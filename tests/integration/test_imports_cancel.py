"""Cancellation and progress of imports."""

from concurrent.futures import ThreadPoolExecutor

from contracts.ids import new_id
from tests.conftest import ApiFactory
from tests.integration.test_imports import FAST_POLL, insert_uncommitted_issue, is_waiting
from tests.integration.test_issues_api import assert_problem
from tests.support.database import Database
from tests.support.imports import import_file, ndjson, post_import, row, row_counts
from tests.support.processes import Api
from tests.support.servers import Servers
from tests.support.waiting import wait_until


def test_import_when_cancelled_keeps_processed_rows_and_ends(
    new_api: ApiFactory, database: Database, servers: Servers
) -> None:
    api = new_api(FAST_POLL)
    lock_connection = insert_uncommitted_issue(servers, "450")
    accepted = post_import(api, ndjson([row(number) for number in range(1, 1001)]))
    wait_until(lambda: is_waiting(database), "the import to be in its third batch")
    url = accepted.headers["location"]
    running = api.client.get(url).json()
    assert (running["state"], running["done"]) == ("running", 400)
    assert running["rows_per_s"] > 0
    assert running["remaining_s"] > 0
    with ThreadPoolExecutor() as threads:
        cancelling = threads.submit(api.client.delete, url)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
        wait_until(
            lambda: database.one(waiting, "SELECT state, cancelled_at FROM operation%") == 1,
            "the cancellation to wait",
        )
        lock_connection.rollback()
        cancelled = cancelling.result()

    lock_connection.close()
    assert cancelled.status_code == 200, cancelled.text
    operation = cancelled.json()
    assert (operation["state"], row_counts(operation)) == ("cancelled", {"created": 600})
    assert (operation["done"], operation["total"]) == (600, 1000)
    assert api.client.get(url).json()["state"] == "cancelled"
    again = api.client.delete(url)
    assert (again.status_code, again.json()) == (200, operation)
    assert database.one("SELECT count(*) FROM issue") == 600
    assert database.one("SELECT count(*) FROM import_row") == 0
    assert database.one("SELECT count(*) FROM audit_log WHERE action = 'import.cancelled'") == 1
    assert row_counts(import_file(api, ndjson([row(2000)]))) == {"created": 1}, "later imports must run"


def test_cancellation_of_ended_or_unknown_import_is_rejected(api: Api) -> None:
    operation = import_file(api, ndjson([row(1)]))

    assert_problem(api.client.delete(f"/api/v1/operations/{operation['id']}"), 409)
    assert_problem(api.client.delete(f"/api/v1/operations/{new_id()}"), 404)
