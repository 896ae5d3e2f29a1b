"""An API process's own metrics: whatever clients send, no label is of their making."""

import httpx
import pytest
import redis

from contracts.names import Queue, Task
from devstack.network import wait_until
from tests.conftest import ApiFactory
from tests.support.database import Database
from tests.support.metrics import Scrape, scrape
from tests.support.processes import Api
from tests.support.servers import Servers

ISSUES = "/api/v1/issues"


@pytest.fixture
def api(new_api: ApiFactory) -> Api:
    return new_api({"DISPATCH_POLL_SECONDS": "0.1"})


def told_by(api: Api) -> Scrape:
    return scrape(int(api.client.base_url.port or 0))


def test_requests_are_counted_by_route_and_nothing_that_clients_make_up(api: Api) -> None:
    told = told_by(api)
    assert told.one("http_requests_total", route=ISSUES) == 0
    assert told.has("http_request_seconds_bucket")

    issue = api.post("The page is empty").json()
    for request in (
        ("GET", f"{ISSUES}/{issue['id']}"),
        ("GET", f"{ISSUES}/none"),
        ("POST", ISSUES),
        ("DELETE", ISSUES),
        ("PROPFIND", ISSUES),
        ("GET", "/made-up"),
        ("PROPFIND", "/made-up-too"),
    ):
        api.client.request(*request)

    told = told_by(api)
    counts = told.by("http_requests_total", "method", "route", "status_class")
    assert counts[("GET", "/livez", "2xx")] > 0
    assert {labels: number for labels, number in counts.items() if labels[1] not in {"/livez", "/metrics"}} == {
        ("POST", ISSUES, "2xx"): 1,
        ("GET", f"{ISSUES}/{{issue_id}}", "2xx"): 1,
        ("GET", f"{ISSUES}/{{issue_id}}", "4xx"): 1,
        ("POST", ISSUES, "4xx"): 1,
        ("DELETE", ISSUES, "4xx"): 1,
        ("other", ISSUES, "4xx"): 1,
        ("GET", "unmatched", "4xx"): 1,
        ("other", "unmatched", "4xx"): 1,
    }
    assert counts == told.by("http_request_seconds_count", "method", "route", "status_class")
    assert told.one("http_requests_in_flight") == 1, "the scrape itself"


def test_jobs_the_pool_and_the_dispatcher(api: Api, database: Database, broker: redis.Redis) -> None:
    api.post("The page is empty")
    wait_until(lambda: broker.llen("issues") == 1, 30, "the message")
    database.query("UPDATE job SET lease_until = now() - interval '1 s'")
    broker.delete("issues")
    wait_until(lambda: broker.llen("issues") == 1, 30, "the message again")

    told = told_by(api)
    assert told.by("jobs_created_total", "task", "queue") == {(Task.ENRICH_ISSUE, Queue.ISSUES): 1}
    assert told.by("dispatcher_published_total", "queue") == {(Queue.ISSUES,): 2}
    assert told.by("dispatcher_requeued_total", "queue") == {(Queue.ISSUES,): 1}
    assert told.one("db_pool_connections") >= 1
    assert told.one("db_pool_size_max") == 10
    assert told.one("dispatcher_failures_total") == 0


def test_outages_are_counted_by_server(api: Api, servers: Servers) -> None:
    passed = told_by(api).one("dispatcher_last_pass_timestamp_seconds")
    servers.valkey.stop()
    try:
        wait_until(
            lambda: told_by(api).by("dispatcher_failures_total", "server").keys() == {("redis",)}, 30, "one"
        )
        wait_until(lambda: told_by(api).one("dispatcher_last_pass_timestamp_seconds") > passed, 30, "a pass")
    finally:
        servers.valkey.start()
    servers.postgres.stop()
    try:
        assert api.post().status_code == 503
        wait_until(lambda: told_by(api).one("dispatcher_failures_total", server="postgres") > 0, 30, "the other")
        assert told_by(api).one("http_requests_total", method="POST", route=ISSUES, status_class="5xx") == 1
    finally:
        servers.postgres.start()
    wait_until(lambda: api.client.get("/readyz").status_code == httpx.codes.OK, 60, "the API to be ready")
