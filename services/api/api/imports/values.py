"""Read statuses and priorities by the names that other trackers use.

Sources of the names: the default workflows and priorities of Jira, GitLab, GitHub, Linear, Redmine and Bugzilla.
"""

import re
from collections.abc import Mapping

from pydantic_core import PydanticCustomError

from api.imports.exports import fold
from contracts.states import IssueStatus, Priority
from contracts.validation import format_value

STATUS = "status"
PRIORITY = "priority"

_STATUS_NAMES = {
    IssueStatus.OPEN: "open, opened, reopened, new, to do, todo, backlog, unstarted, not started, triage, "
    "unconfirmed, confirmed, selected for development, ready, ready for development, pending, planned, submitted, "
    "waiting, on hold, blocked",
    IssueStatus.IN_PROGRESS: "in progress, inprogress, started, doing, active, assigned, accepted, working, wip, "
    "work in progress, in development, in review, review, code review, in testing, testing, qa, in qa, feedback, "
    "ready for review, under review",
    IssueStatus.RESOLVED: "resolved, fixed, solved",
    IssueStatus.CLOSED: "closed, done, complete, completed, finished, verified, released, canceled, cancelled, "
    "rejected, duplicate, invalid, declined, abandoned, wontfix, wont fix, won't fix, won't do, wont do, "
    "not planned, works for me, worksforme, archived",
}
_PRIORITY_NAMES = {
    Priority.CRITICAL: "critical, highest, urgent, blocker, immediate, emergency, showstopper, very high, p0, p1, "
    "sev0, sev1",
    Priority.HIGH: "high, major, important, severe, p2, sev2",
    Priority.MEDIUM: "medium, normal, moderate, default, average, mid, p3, sev3",
    Priority.LOW: "low, lowest, minor, trivial, very low, p4, p5, sev4, sev5",
}
_NONE = frozenset({"", "none", "no priority", "not set", "unset", "undefined", "unprioritized", "n/a"})
_NAMES: dict[str, dict[str, str]] = {
    STATUS: {name: status for status, names in _STATUS_NAMES.items() for name in names.split(", ")},
    PRIORITY: {name: priority for priority, names in _PRIORITY_NAMES.items() for name in names.split(", ")},
}
TARGETS = {STATUS: tuple(IssueStatus), PRIORITY: tuple(Priority)}

_LENGTH_MAX = 300
"""Characters of a name, as of a mapped one. The pattern's time grows with the square of the length."""

# Numbers and explanations around a name, as in 1 - High, 2. Normal, P1 - Critical and High (P2).
_NUMBERED = re.compile(r"^(?:p?\d+\s*[-.:)]\s*|priority\s*:\s*|status\s*:\s*)|\s*\(.*\)$", re.IGNORECASE)


def read_name(field: str, value: object, mapping: Mapping[str, str]) -> object:
    """Return the status or priority with this name, or None for "no priority"; other types are returned unchanged.

    `mapping` has the names of the request, as returned by `fold`. Raise a PydanticCustomError for an unknown name.
    """
    if not isinstance(value, str):
        return value
    names, text = _NAMES[field], value.strip()
    for name in (fold(text), fold(_NUMBERED.sub("", text))) if len(text) <= _LENGTH_MAX else ():
        if (found := mapping.get(name) or names.get(name)) is not None:
            return found
        if name in _NONE:
            return None
    raise PydanticCustomError(
        "unknown_name",
        "{value} is not a known {field}. Use {allowed}, or map it with value={field}:NAME=VALUE.",
        {"value": format_value(value), "field": field, "allowed": _list(TARGETS[field])},
    )


def _list(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
