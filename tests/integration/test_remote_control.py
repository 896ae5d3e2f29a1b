"""Remote control of a worker over Redis, which has no authentication of its own."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from tests.conftest import WorkerFactory
from tests.support.control import control_app
from tests.support.servers import Servers
from tests.support.waiting import wait_until

CHANGES: dict[str, dict[str, Any]] = {
    "add_consumer": {"queue": "injected"},
    "autoscale": {"max": 1, "min": 1},
    "cancel_consumer": {"queue": "issues"},
    "disable_events": {},
    "pool_grow": {"n": 1},
    "pool_restart": {},
    "pool_shrink": {"n": 1},
    "rate_limit": {"task_name": "app.tasks.issues.enrich_issue", "rate_limit": "1/h"},
    "revoke": {"task_id": "x", "terminate": True},
    "shutdown": {},
    "terminate": {"task_id": "x", "signal": "SIGKILL"},
    "time_limit": {"task_name": "app.tasks.issues.enrich_issue", "hard": 1},
}


@pytest.fixture
def celery(servers: Servers) -> Iterator[Celery]:
    with control_app(servers.env["CELERY_BROKER_URL"]) as app:
        yield app


def test_worker_answers_inspections_and_executes_no_change(new_worker: WorkerFactory, celery: Celery) -> None:
    worker = new_worker({})
    wait_until(lambda: celery.control.ping(timeout=1) != [], "a reply of the worker")
    inspect = celery.control.inspect(timeout=60, limit=1)
    before = inspect.stats()

    for command, arguments in CHANGES.items():
        celery.control.broadcast(command, arguments=arguments)

    def rejected() -> set[str]:
        return {name for name in CHANGES if worker.log.has("remote_control_rejected", f'"command": "{name}"')}

    wait_until(lambda: rejected() == set(CHANGES), lambda: f"all commands to be rejected\n{worker.log}")
    queues, after = inspect.active_queues(), inspect.stats()
    assert queues is not None
    assert before is not None
    assert after is not None
    assert {queue["name"] for of_worker in queues.values() for queue in of_worker} == {"issues", "default"}
    assert [each["pool"]["processes"] for each in after.values()] == [
        each["pool"]["processes"] for each in before.values()
    ]
    assert worker.process.exit_code is None


def test_rejected_command_gets_an_explanation(new_worker: WorkerFactory, celery: Celery) -> None:
    new_worker({})
    wait_until(lambda: celery.control.ping(timeout=1) != [], "a reply of the worker")

    replies = celery.control.broadcast("shutdown", reply=True, timeout=60, limit=1)

    assert replies is not None
    assert [answer for reply in replies for answer in reply.values()] == [
        {"error": "shutdown is not allowed: remote control of this worker is read-only."}
    ]


def test_greeting_of_another_worker_revokes_no_task(new_worker: WorkerFactory, celery: Celery) -> None:
    new_worker({})
    wait_until(lambda: celery.control.ping(timeout=1) != [], "a reply of the worker")
    inspect = celery.control.inspect(timeout=60, limit=1)

    assert inspect.hello("celery@other", revoked={"x": 1})
    revoked = inspect.revoked()
    assert revoked is not None
    assert list(revoked.values()) == [[]]
