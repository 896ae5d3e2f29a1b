"""Failing jobs in Flower."""

from typing import Any

import httpx
import pytest

from devstack.network import free_port, wait_until
from devstack.process import Process
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.database import Database
from tests.support.processes import WORKER, tool
from tests.support.servers import Log, Servers
from tests.support.tasks import TASK


@pytest.mark.parametrize(("how", "state"), [("transient", "RETRY"), ("permanent", "FAILURE"), ("work", "SUCCESS")])
def test_flower_shows_state_and_error_of_task(
    how: str, state: str, servers: Servers, new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    port, log = free_port(), Log()
    flower = Process(
        "flower",
        [tool("celery"), "-A", "app.celery_app", "flower", f"--port={port}"],
        log,
        cwd=WORKER,
        env={**servers.env, "FLOWER_UNAUTHENTICATED_API": "1"},
    )
    url = f"http://127.0.0.1:{port}"

    def lists_worker() -> bool:
        assert flower.exit_code is None, str(log)
        try:
            return "worker@" in httpx.get(f"{url}/api/workers", params={"status": "1"}, timeout=10).text
        except httpx.TransportError:
            return False

    def task() -> dict[str, Any]:
        response = httpx.get(f"{url}/api/task/info/{job_id}", timeout=10)
        found: dict[str, Any] = response.json() if response.status_code == 200 else {}
        return found

    try:
        new_worker({"RETRY_DELAYS": "3600"}, app="tests.support.misbehaving_app")
        wait_until(lists_worker, 60, f"Flower to list the worker\n{log}")
        job_id = database.add_job(TASK, how=how)
        new_api({})
        wait_until(lambda: task().get("state") == state, 60, f"{state} in Flower, not {task()}")
        if state == "FAILURE":
            assert "the provider rejects this text" in task()["exception"]
    finally:
        flower.stop(30)
