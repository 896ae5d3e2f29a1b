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
    PRUNE = "app.tasks.maintenance.prune"
    DELIVER_WEBHOOK = "app.tasks.webhooks.deliver"


REJECTED_MESSAGES_KEY = "refused"
"""The Redis list in which workers leave messages that they cannot run, for the dispatcher to decide on.

The key keeps its value because release 0.1.0 uses it too.
"""

PRIORITY_SUFFIXES = ("", "\x06\x163", "\x06\x166", "\x06\x169")
"""Behind a queue's name, the Redis lists that kombu keeps for its priorities. Ours all go to the first."""

HEARTBEAT_KEY_PREFIX = "worker:"
"""Prefix of the Redis keys in which workers store their heartbeats (`contracts.messages.WorkerHeartbeat`)."""
HEARTBEAT_KEY_SECONDS = 10
"""After which such a key expires; a worker that consumes writes it every two seconds."""

QUEUE_OF: dict[Task, Queue] = {
    Task.ENRICH_ISSUE: Queue.ISSUES,
    Task.INDEX_ISSUE: Queue.DEFAULT,
    Task.RETRAIN: Queue.DEFAULT,
    Task.PRUNE: Queue.DEFAULT,
    Task.DELIVER_WEBHOOK: Queue.DEFAULT,
}
"""The queue that each task's messages go to."""
