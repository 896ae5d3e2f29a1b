"""The Celery application: `celery -A app.celery_app worker`."""

import os
from typing import Any

from celery import Celery
from celery.signals import celeryd_after_setup, setup_logging, worker_init, worker_shutting_down
from kombu import Exchange, Queue

from app import logs
from app.broker.connection import CheckedAMQP
from app.broker.transport import CheckedChannel, register
from app.heartbeat_files import HeartbeatStep
from app.ledger.child import create_memory, get_memory
from app.ledger.task import LedgerTask
from app.metrics.server import serve
from app.remote_control import restrict_remote_control
from app.settings import settings
from contracts import names, systemd

# Celery would prefer these variables to the settings, which accept more URLs.
for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"):
    os.environ.pop(name, None)

register()
app = Celery(
    "app.celery_app",
    broker=settings.celery_broker_url,
    backend=settings.result_backend,
    amqp=CheckedAMQP,
    include=["app.tasks.issues", "app.tasks.index", "app.tasks.maintenance", "app.tasks.webhooks"],
)
app.conf.update(
    task_queues=[
        Queue(queue.value, Exchange(queue.value, type="direct"), routing_key=queue.value) for queue in names.Queue
    ],
    task_default_queue=names.Queue.DEFAULT.value,
    task_routes={task.value: {"queue": queue.value} for task, queue in names.QUEUE_OF.items()},
    # A misspelled queue name would create a list that no worker consumes.
    task_create_missing_queues=False,
    accept_content=["json"],
    task_serializer="json",
    result_serializer="json",
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    # Fetch a message only if a process is free, so that Celery's count of prefetched messages cannot drift.
    worker_disable_prefetch=True,
    worker_pool="app.prefork:TaskPool",
    worker_concurrency=settings.worker_concurrency,
    worker_max_tasks_per_child=500,
    task_soft_time_limit=settings.task_soft_time_limit,
    task_time_limit=settings.task_time_limit,
    # Flower depends on these events.
    worker_send_task_events=True,
    worker_consumer="app.consumer:BatchingConsumer",
    task_track_started=False,
    # The ledger is the source of truth. Results are only for people who inspect them.
    result_expires=3600,
    # Otherwise a task that succeeds during a Redis outage would be recorded as failed.
    result_backend_always_retry=True,
    result_backend_max_retries=20,
    redis_socket_timeout=10,
    redis_socket_connect_timeout=5,
    redis_retry_on_timeout=True,
    redis_backend_health_check_interval=30,
    # A broker outage must not stop the worker, regardless of its length.
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_channel_error_retry=True,
    # With True, running tasks are lost in a Redis outage, because the cancelled message is acknowledged.
    worker_cancel_long_running_tasks_on_connection_loss=False,
    broker_transport_options={
        # The ledger's lease recovers lost jobs. This only limits how long the messages of a dead worker
        # stay in `unacked`. When they are redelivered, their job is already claimed or done.
        "visibility_timeout": 3600,
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "connect_retries_timeout": 90,
        "max_retries": 60,
        "interval_start": 0.2,
        "interval_step": 0.5,
        "interval_max": 5,
    },
)
app.steps["consumer"].add(HeartbeatStep)


@worker_init.connect
def _register_message_types(**_: Any) -> None:
    CheckedChannel.messages = {
        name: task.message_type for name, task in app.tasks.items() if isinstance(task, LedgerTask)
    }


@worker_init.connect
def _restrict_remote_control(**_: Any) -> None:
    restrict_remote_control()


@worker_init.connect
def _serve_metrics(**_: Any) -> None:
    serve()


@setup_logging.connect
def _log_through_structlog(loglevel: int | str | None = None, **_: Any) -> None:
    logs.configure(loglevel)


@celeryd_after_setup.connect
def _create_batch_memory(instance: Any, **_: Any) -> None:
    create_memory(instance.concurrency)


@celeryd_after_setup.connect
def _replace_banner(instance: Any, **_: Any) -> None:
    logs.replace_banner(instance)


@worker_shutting_down.connect
def _report_stop(**_: Any) -> None:
    systemd.notify(systemd.STOPPING)


@worker_shutting_down.connect
def _stop_batches(**_: Any) -> None:
    memory = get_memory()
    if memory is not None:
        memory.stop()
