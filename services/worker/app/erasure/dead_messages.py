"""Finds the dead messages that name an issue. They belong to no job, and their content has any form."""

import re
from base64 import b64decode
from collections import defaultdict
from functools import cached_property
from uuid import UUID

from sqlalchemy import Engine, text

ROWS = 20
"""Messages in memory at a time, of up to 1 MiB each."""

_SELECT = text("SELECT id, raw FROM dead_message")
_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{48,}")
"""As long as a UUID at least."""


class DeadMessages:
    """The dead messages at the time of the first search."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, issue_ids: list[UUID]) -> list[UUID]:
        """Return the ids of the messages that name one of the issues."""
        return sorted({message for issue_id in issue_ids for message in self._by_issue.get(issue_id, ())})

    @cached_property
    def _by_issue(self) -> dict[UUID, list[UUID]]:
        found: dict[UUID, list[UUID]] = defaultdict(list)
        with self._engine.connect() as connection:
            for row in connection.execution_options(yield_per=ROWS).execute(_SELECT):
                for named in find_ids(bytes(row.raw)):
                    found[named].append(row.id)
        return dict(found)


def find_ids(raw: bytes) -> set[UUID]:
    """Return the UUIDs in a message, also in base64, the encoding of a Celery message's body."""
    decoded = (b64decode(run[: len(run) // 4 * 4]) for run in _BASE64.findall(raw))
    return {UUID(found.decode()) for part in (raw, *decoded) for found in _UUID.findall(part)}
