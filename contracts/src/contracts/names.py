"""Names that the services share: tasks, queues and Redis keys."""

from enum import StrEnum


class Queue(StrEnum):
    """The queues that workers consume. Each is a direct exchange and a Redis list of the same name."""

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
"""The Redis list to which workers move messages that they cannot run. The dispatcher decides on them.

The key keeps its value because release 0.1.0 uses it too.
"""

PRIORITY_SUFFIXES = ("", "\x06\x163", "\x06\x166", "\x06\x169")
"""Suffixes of the Redis lists that kombu uses for a queue's priorities. Our messages all go to the first."""

HEARTBEAT_KEY_PREFIX = "worker:"
"""Prefix of the Redis keys in which workers store their heartbeats (`contracts.messages.WorkerHeartbeat`)."""
HEARTBEAT_KEY_SECONDS = 10
"""Seconds until such a key expires. A consuming worker writes it every two seconds."""


class ScheduleName(StrEnum):
    """The schedules. The migrations insert their rows."""

    PRUNE = "prune"
    RETRAIN = "retrain"


TASK_OF = {ScheduleName.PRUNE: Task.PRUNE, ScheduleName.RETRAIN: Task.RETRAIN}
"""The task of each schedule."""

QUEUE_OF: dict[Task, Queue] = {
    Task.ENRICH_ISSUE: Queue.ISSUES,
    Task.INDEX_ISSUE: Queue.DEFAULT,
    Task.RETRAIN: Queue.DEFAULT,
    Task.PRUNE: Queue.DEFAULT,
    Task.DELIVER_WEBHOOK: Queue.DEFAULT,
}
"""The queue of each task's messages."""
