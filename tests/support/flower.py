"""Flower, started in one of its two directories."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from devstack.process import Process
from tests.support.forked import ForkedProcess
from tests.support.ports import free_port
from tests.support.processes import ROOT, WORKER
from tests.support.redis_users import connect_as
from tests.support.servers import Log
from tests.support.waiting import wait_until

IMAGE = ROOT / "services/flower"
"""Flower's image has only this directory. The command of the guide runs in the worker's."""


def start_flower(env: Mapping[str, str], port: int, log: Log, *options: str, directory: Path = WORKER) -> Process:
    """Start Flower as the guide does, or as its image does."""
    app = ("-A", "app.celery_app") if directory == WORKER else ()
    command = [sys.executable, "-m", "celery", *app, "flower", f"--port={port}", *options]
    return ForkedProcess("flower", command, log, cwd=directory, env=connect_as("flower", env))


@contextmanager
def flower(env: Mapping[str, str], *options: str, directory: Path = WORKER) -> Iterator[str]:
    """Run Flower and yield its URL."""
    port, log = free_port(), Log()
    process = start_flower(env, port, log, *options, directory=directory)
    url = f"http://127.0.0.1:{port}"

    def is_healthy() -> bool:
        assert process.exit_code is None, str(log)
        try:
            return httpx.get(f"{url}/healthcheck", timeout=60).text == "OK"
        except httpx.TransportError:
            return False

    try:
        wait_until(is_healthy, lambda: f"Flower\n{log}")
        yield url
    finally:
        process.stop(30)
