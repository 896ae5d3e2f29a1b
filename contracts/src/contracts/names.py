"""Names that travel between services: tasks and queues."""

from enum import StrEnum


class Queue(StrEnum):
    """The queues that workers consume; each is a direct exchange and a Redis list of the same name."""

    ISSUES = "issues"
    DEFAULT = "default"


class Task(StrEnum):
    """The Celery tasks by their registered names."""

    ENRICH_ISSUE = "app.tasks.issues.enrich_issue"
    INDEX_ISSUE = "app.tasks.issues.index_issue"
    RETRAIN = "app.tasks.maintenance.retrain"


REFUSED_LIST = "refused"
"""The Redis list in which workers leave messages that they cannot run, for the dispatcher to decide on."""

QUEUE_OF: dict[Task, Queue] = {
    Task.ENRICH_ISSUE: Queue.ISSUES,
    Task.INDEX_ISSUE: Queue.DEFAULT,
    Task.RETRAIN: Queue.DEFAULT,
}
"""The queue that each task's messages go to."""
