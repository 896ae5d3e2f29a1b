"""Jobs in Flower: their states, and the links to their issues and to the dead letters."""

import shutil
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import redis

from devstack.process import Process
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.database import Database
from tests.support.ports import free_port
from tests.support.processes import WORKER, Api, tool
from tests.support.redis_users import connect_as
from tests.support.servers import Log, Servers
from tests.support.tasks import TASK
from tests.support.waiting import DEADLINE_S, wait_until

STATES = {"transient": "RETRY", "permanent": "FAILURE", "work": "SUCCESS"}
CHROMIUM = shutil.which("chromium")


@pytest.fixture
def api(new_api: ApiFactory) -> Api:
    return new_api({})


@pytest.fixture
def flower(servers: Servers, api: Api, new_worker: WorkerFactory) -> Iterator[httpx.Client]:
    """Yield a client of Flower, which lists the worker."""
    port, log = free_port(), Log()
    page = str(api.client.base_url).rstrip("/")
    process = Process(
        "flower",
        [tool("celery"), "-A", "app.celery_app", "flower", f"--port={port}"],
        log,
        cwd=WORKER,
        env=connect_as("flower", {**servers.env, "FLOWER_UNAUTHENTICATED_API": "1", "ISSUETRACKER_URL": page}),
    )
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)

    def lists_worker() -> bool:
        assert process.exit_code is None, str(log)
        try:
            return "worker@" in client.get("/api/workers", params={"status": "1"}).text
        except httpx.TransportError:
            return False

    try:
        new_worker({"RETRY_DELAYS": "3600"}, app="tests.support.misbehaving_app")
        wait_until(lists_worker, lambda: f"Flower to list the worker\n{log}")
        yield client
    finally:
        client.close()
        process.stop(30)


def test_flower_shows_states_and_links_of_tasks(flower: httpx.Client, api: Api, database: Database) -> None:
    issue = api.post("Login button not working").json()["id"]
    jobs = {how: str(database.add_job(TASK, how=how, issue_id=issue)) for how in STATES}

    def task(how: str) -> dict[str, Any]:
        response = flower.get(f"/api/task/info/{jobs[how]}")
        found: dict[str, Any] = response.json() if response.status_code == 200 else {}
        return found

    wait_until(lambda: {how: task(how).get("state") for how in STATES} == STATES, f"{STATES} in Flower")
    assert "PermanentError" in task("permanent")["exception"]
    assert "the provider rejects this text" not in str(task("permanent")), "Flower cannot erase a quoted text"

    page = str(api.client.base_url).rstrip("/")
    link, dead_letters = f'href="{page}/?issue={issue}"', f'href="{page}/?view=dead"'
    for how, state in STATES.items():
        text = flower.get(f"/task/{jobs[how]}").text
        assert link in text
        assert (dead_letters in text) == (state == "FAILURE")
    assert flower.get("/broker").status_code == 200

    if CHROMIUM is not None:
        assert follow_links(str(flower.base_url).rstrip("/"), jobs["permanent"]) == [
            f"{page}/?issue={issue}",
            f"{page}/?view=dead",
        ]


def test_inspection_of_worker_gets_replies_and_makes_no_dead_letter(
    flower: httpx.Client, servers: Servers, broker: redis.Redis, database: Database
) -> None:
    name = next(iter(flower.get("/api/workers", params={"status": "1"}).json()))
    # By default, inspect waits only one second for replies. With a destination, it ends with the last reply.
    inspect = ("inspect", "--timeout", str(DEADLINE_S), "--destination", name, "ping")
    command, log = [tool("celery"), "-A", "app.celery_app", *inspect], Log()

    assert Process("ping", command, log, cwd=WORKER, env=servers.env).wait(DEADLINE_S) == 0
    assert "pong" in str(log)

    def get_stats() -> dict[str, Any]:
        """Return the statistics, which are missing if the worker has not responded to Flower within a second."""
        found = flower.get("/api/workers", params={"refresh": "1", "workername": name}).json()
        stats: dict[str, Any] = found.get(name, {}).get("stats") or {}
        return stats

    wait_until(lambda: bool(get_stats()), "the statistics of the worker in Flower")
    assert get_stats()["pool"]["max-concurrency"] > 0
    assert flower.get(f"/worker/{name}").status_code == 200
    assert broker.llen("refused") == 0
    assert database.one("SELECT count(*) FROM dead_message") == 0


def follow_links(flower: str, job_id: str) -> list[str]:
    """Click the links of a task in Flower's list; return the addresses of the pages."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(1000 * DEADLINE_S)
        addresses = []
        for name in ("Issue", "Dead letters"):
            page.goto(f"{flower}/tasks")
            page.locator("tr", has_text=job_id).get_by_role("link", name=name, exact=True).click()
            page.wait_for_url(lambda url: not url.startswith(flower))
            addresses.append(page.url)
        browser.close()
    return addresses
