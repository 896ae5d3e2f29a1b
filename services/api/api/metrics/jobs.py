"""Metrics of jobs that this process creates or ends. Workers use the same names for theirs."""

from prometheus_client import Counter

from api.metrics.labels import known_or_other
from contracts.ledger.states import DEAD
from contracts.names import QUEUE_OF, Queue, Task
from contracts.states import FailureKind

CREATED = Counter("issuetracker_jobs_created_total", "Created jobs.", ["task", "queue"])
ATTEMPTS = Counter("issuetracker_job_attempts_total", "Ended attempts.", ["task", "queue", "outcome"])
FINISHED = Counter("issuetracker_jobs_finished_total", "Ended jobs.", ["task", "queue", "outcome"])
RETRIES = Counter("issuetracker_job_retries_total", "Failed attempts that are retried.", ["task", "queue", "kind"])

for _task, _queue in QUEUE_OF.items():
    CREATED.labels(_task, _queue)
    ATTEMPTS.labels(_task, _queue, FailureKind.LOST)
    FINISHED.labels(_task, _queue, DEAD)
    RETRIES.labels(_task, _queue, FailureKind.LOST)


def record_created(task: str, queue: str, count: int = 1) -> None:
    """Count created jobs."""
    CREATED.labels(known_or_other(Task, task), known_or_other(Queue, queue)).inc(count)


def record_lost(task: str, queue: str, state: str) -> None:
    """Count an attempt whose worker was lost, by the new state of its job."""
    labels = known_or_other(Task, task), known_or_other(Queue, queue)
    ATTEMPTS.labels(*labels, FailureKind.LOST).inc()
    if state == DEAD:
        record_dead(task, queue)
    else:
        RETRIES.labels(*labels, FailureKind.LOST).inc()


def record_dead(task: str, queue: str) -> None:
    """Count a dead job."""
    FINISHED.labels(known_or_other(Task, task), known_or_other(Queue, queue), DEAD).inc()
