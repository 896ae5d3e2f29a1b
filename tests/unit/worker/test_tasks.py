"""The worker registers the tasks and queues of the contracts."""

import pytest

from app.celery_app import app
from app.ledger.task import LedgerTask
from app.settings import WorkerSettings
from contracts.messages import MESSAGE_OF
from contracts.names import QUEUE_OF, Queue, Task


def test_task_of_contracts_is_registered_with_its_message() -> None:
    app.loader.import_default_modules()

    for task in Task:
        registered = app.tasks[task.value]
        assert isinstance(registered, LedgerTask)
        assert registered.message_type is MESSAGE_OF[task]


def test_queues_are_consumed_and_tasks_routed_to_their_queue() -> None:
    assert {queue.name for queue in app.conf.task_queues} == {queue.value for queue in Queue}
    assert {queue.exchange.type for queue in app.conf.task_queues} == {"direct"}
    for task, queue in QUEUE_OF.items():
        assert app.conf.task_routes[task.value] == {"queue": queue.value}


@pytest.mark.parametrize(
    ("broker", "results"),
    [
        ("redis://:pw@h:7/0", "redis://:pw@h:7/1"),
        ("redis://h:7", "redis://h:7/1"),
        ("rediss://h:7/0?ssl_cert_reqs=required", "rediss://h:7/1?ssl_cert_reqs=required"),
    ],
)
def test_result_backend_is_database_1_of_broker(broker: str, results: str) -> None:
    assert WorkerSettings(celery_broker_url=broker).result_backend == results


def test_celery_configuration_is_fault_tolerant() -> None:
    conf = app.conf

    assert conf.task_acks_late
    assert conf.worker_prefetch_multiplier == 1
    assert (conf.task_serializer, conf.result_serializer, conf.accept_content) == ("json", "json", ["json"])
    # True loses running tasks when Redis is down.
    assert conf.worker_cancel_long_running_tasks_on_connection_loss is False
    # The default stops the worker after 100 attempts.
    assert conf.broker_connection_max_retries is None
