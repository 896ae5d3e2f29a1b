"""The names of the schedules, and their tasks."""

from enum import StrEnum

from contracts.names import Task


class ScheduleName(StrEnum):
    """A schedule. The migrations insert its row."""

    PRUNE = "prune"
    RETRAIN = "retrain"


TASK_OF = {ScheduleName.PRUNE: Task.PRUNE, ScheduleName.RETRAIN: Task.RETRAIN}
