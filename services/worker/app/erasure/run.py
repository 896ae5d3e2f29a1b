"""Selects the issues to erase, and erases them in batches, so that writers do not wait."""

from collections.abc import Iterator
from datetime import timedelta
from time import monotonic
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, Row, TextClause, text

from app.erasure.batch import Cause, erase_batch
from app.erasure.dead_messages import DeadMessages
from app.erasure.statements import RETENTION
from app.metrics import pruning as metrics

BATCH = 200
"""Maximum issues per transaction."""

_REQUESTED = text(f"SELECT id FROM erasure WHERE finished_at IS NULL AND NOT is_project LIMIT {BATCH}")
_PROJECTS = text("""
SELECT id, project, actor, actor_id, requested_at FROM erasure WHERE finished_at IS NULL AND is_project ORDER BY id
""")
# The ids sort by time, so one pass over the primary key reads each issue once.
_OF_PROJECT = text(f"""
SELECT id FROM issue
WHERE project = :project AND created_at <= :requested_at AND id > CAST(:after AS uuid) ORDER BY id LIMIT {BATCH}
""")
_DELETED = text(f"SELECT id FROM issue WHERE deleted_at < now() - :kept ORDER BY deleted_at LIMIT {BATCH}")
_FINISH = text(
    "UPDATE erasure SET finished_at = now() WHERE id = ANY(CAST(:ids AS uuid[])) AND finished_at IS NULL"
)

_RETENTION = Cause(RETENTION)


def erase(engine: Engine, kept: timedelta, until: float) -> bool:
    """Erase what was requested, and issues that were deleted more than `kept` ago; return whether none is left.

    No batch begins after the time `until` of `time.monotonic`.
    """
    dead_messages = DeadMessages(engine)
    for ids, cause in _find_batches(engine, kept):
        if monotonic() > until:
            return False
        metrics.ROWS.labels("issue").inc(erase_batch(engine, ids, cause, dead_messages))
    return True


def _find_batches(engine: Engine, kept: timedelta) -> Iterator[tuple[list[UUID], Cause]]:
    """Yield the ids of issues. The caller erases each batch before it takes the next one."""
    while rows := _fetch(engine, _REQUESTED):
        ids = [row.id for row in rows]
        # Their tombstones have the cause already.
        yield ids, _RETENTION
        _finish(engine, ids)
    for project in _fetch(engine, _PROJECTS):
        yield from _find_batches_of(engine, project)
        _finish(engine, [project.id])
    while rows := _fetch(engine, _DELETED, kept=kept):
        yield [row.id for row in rows], _RETENTION


def _find_batches_of(engine: Engine, project: Row[Any]) -> Iterator[tuple[list[UUID], Cause]]:
    cause = Cause(project.actor, project.actor_id, project.requested_at)
    values = {"project": project.project, "requested_at": project.requested_at}
    after = UUID(int=0)
    while rows := _fetch(engine, _OF_PROJECT, **values, after=after):
        after = rows[-1].id
        yield [row.id for row in rows], cause


def _finish(engine: Engine, ids: list[UUID]) -> None:
    """Finish the requests, also those whose issue does not exist, as after a restore."""
    with engine.begin() as connection:
        connection.execute(_FINISH, {"ids": ids})


def _fetch(engine: Engine, query: TextClause, **values: Any) -> list[Row[Any]]:
    with engine.connect() as connection:
        return list(connection.execute(query, values))
