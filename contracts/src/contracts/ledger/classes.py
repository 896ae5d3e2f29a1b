"""The priority classes of jobs."""

from enum import IntEnum

from contracts.states import Priority


class PriorityClass(IntEnum):
    """How urgent a job is. The dispatcher publishes jobs of a lower number first."""

    CRITICAL = 0
    HIGH = 1
    MEDIUM = 2
    LOW = 3
    BACKGROUND = 4
    """Imports, repeated enrichment and maintenance: below every new issue."""


_MOST_URGENT_FIRST = ", ".join(repr(priority.value) for priority in reversed(Priority))


def class_of(priority: str) -> str:
    """Return the SQL expression of the class of a new issue, by the SQL expression of its priority."""
    return f"(array_position(ARRAY[{_MOST_URGENT_FIRST}], {priority}) - 1)"


def class_name(number: int) -> str:
    """Return the name of a class as it is shown."""
    return PriorityClass(number).name.lower()
