"""Metrics of an API process. Clients cannot create label values."""

from collections import Counter

import httpx
import pytest
import redis

from contracts.names import Queue, Task
from tests.conftest import ApiFactory
from tests.support.database import Database
from tests.support.metrics import Scrape, scrape
from tests.support.processes import Api
from tests.support.servers import Servers
from tests.support.waiting import wait_until

ISSUES = "/api/v1/issues"


@pytest.fixture
def api(new_api: ApiFactory) -> Api:
    return new_api({"DISPATCH_POLL_SECONDS": "0.1"})


def scrape_api(api: Api) -> Scrape:
    return scrape(int(api.client.base_url.port or 0))


def test_request_metrics_have_no_labels_chosen_by_clients(api: Api) -> None:
    metrics = scrape_api(api)
    assert metrics.one("http_requests_total", route=ISSUES) == 0

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

    metrics = scrape_api(api)
    counts = metrics.by("http_requests_total", "method", "route", "status_class")
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
    durations = metrics.by("http_request_seconds_count", "method", "route", "status_class")
    assert {labels: number for labels, number in durations.items() if number} == {
        labels: number for labels, number in counts.items() if number
    }
    assert metrics.one("http_requests_in_flight") == 1, "only the scrape itself must be in flight"


def test_job_pool_and_dispatcher_metrics_are_counted(api: Api, database: Database, broker: redis.Redis) -> None:
    api.post("The page is empty")
    wait_until(lambda: broker.llen("issues") == 1, "the message to be published")
    database.query("UPDATE job SET lease_until = now() - interval '1 s'")
    broker.delete("issues")
    wait_until(lambda: broker.llen("issues") == 1, "the message to be published again")

    def published() -> Counter[tuple[str, ...]]:
        return scrape_api(api).by("dispatcher_published_total", "queue")

    # The dispatcher counts a message after Redis has stored it.
    wait_until(lambda: published() == {(Queue.ISSUES,): 2}, lambda: f"two messages, not {published()}")
    metrics = scrape_api(api)
    assert metrics.by("jobs_created_total", "task", "queue") == {(Task.ENRICH_ISSUE, Queue.ISSUES): 1}
    assert metrics.by("dispatcher_requeued_total", "queue") == {(Queue.ISSUES,): 1}
    assert metrics.one("db_pool_connections") >= 1
    assert metrics.one("db_pool_size_max") == 10
    assert metrics.one("dispatcher_failures_total") == 0


def test_dispatcher_failures_are_counted_by_server(api: Api, servers: Servers) -> None:
    last_pass = scrape_api(api).one("dispatcher_last_pass_timestamp_seconds")
    servers.valkey.stop()
    try:
        wait_until(
            lambda: scrape_api(api).by("dispatcher_failures_total", "server").keys() == {("redis",)},
            "a failure of redis",
        )
        wait_until(
            lambda: scrape_api(api).one("dispatcher_last_pass_timestamp_seconds") > last_pass,
            "the next pass of the dispatcher",
        )
    finally:
        servers.valkey.start()
    servers.postgres.stop()
    try:
        assert api.post().status_code == 503
        wait_until(
            lambda: scrape_api(api).one("dispatcher_failures_total", server="postgres") > 0,
            "a failure of postgres",
        )
        assert scrape_api(api).one("http_requests_total", method="POST", route=ISSUES, status_class="5xx") == 1
    finally:
        servers.postgres.start()
    wait_until(lambda: api.client.get("/readyz").status_code == httpx.codes.OK, "the API to be ready")
