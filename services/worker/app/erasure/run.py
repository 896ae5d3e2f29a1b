"""Selects the issues to erase, and erases them in batches, so that writers do not wait."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, Row, TextClause, text

from app.erasure.batch import Requester, erase_batch
from app.erasure.dead_messages import DeadMessages
from app.erasure.statements import RETENTION
from app.metrics import pruning as metrics

BATCH = 200
"""Maximum issues per transaction."""

# The rows and the errors of a running import may quote an issue. Its end creates the next pruning job.
_IS_READY = """
finished_at IS NULL AND NOT EXISTS (
    SELECT FROM operation WHERE state <> 'finished' AND operation.created_at <= erasure.requested_at
)
"""
_REQUESTED = text(f"SELECT id FROM erasure WHERE {_IS_READY} AND NOT is_project ORDER BY id LIMIT {BATCH}")
_PROJECTS = text(f"""
SELECT id, project, actor, actor_id, requested_at FROM erasure WHERE {_IS_READY} AND is_project ORDER BY id
""")
OF_PROJECT = text(f"""
SELECT id, created_at FROM issue
WHERE project = :project AND created_at <= :requested_at
    AND (created_at, id) > (CAST(:after AS timestamptz), CAST(:after_id AS uuid))
ORDER BY created_at, id LIMIT {BATCH}
""")
_DELETED = text(f"SELECT id FROM issue WHERE deleted_at < now() - :kept ORDER BY deleted_at LIMIT {BATCH}")
_FINISH = text(
    "UPDATE erasure SET finished_at = now() WHERE id = ANY(CAST(:ids AS uuid[])) AND finished_at IS NULL"
)

_RETENTION = Requester(RETENTION)


def erase(engine: Engine, kept: timedelta, until: float) -> bool:
    """Erase what was requested, and issues that were deleted more than `kept` ago; return whether none is left.

    An erasure waits for imports that began before it.

    No batch begins after the time `until` of `time.monotonic`.
    """
    dead_messages = DeadMessages(engine)
    for ids, requester in _find_batches(engine, kept):
        if monotonic() > until:
            return False
        metrics.ROWS.labels("issue").inc(erase_batch(engine, ids, requester, dead_messages))
    return True


def _find_batches(engine: Engine, kept: timedelta) -> Iterator[tuple[list[UUID], Requester]]:
    """Yield the ids of issues. The caller erases each batch before it takes the next one."""
    while rows := _fetch(engine, _REQUESTED):
        ids = [row.id for row in rows]
        # Their tombstones have the requester already.
        yield ids, _RETENTION
        _finish(engine, ids)
    for project in _fetch(engine, _PROJECTS):
        yield from _find_batches_of(engine, project)
        _finish(engine, [project.id])
    while rows := _fetch(engine, _DELETED, kept=kept):
        yield [row.id for row in rows], _RETENTION


def _find_batches_of(engine: Engine, project: Row[Any]) -> Iterator[tuple[list[UUID], Requester]]:
    requester = Requester(project.actor, project.actor_id, project.requested_at)
    values = {"project": project.project, "requested_at": project.requested_at}
    after, after_id = datetime.min.replace(tzinfo=UTC), UUID(int=0)
    while rows := _fetch(engine, OF_PROJECT, **values, after=after, after_id=after_id):
        after, after_id = rows[-1].created_at, rows[-1].id
        yield [row.id for row in rows], requester


def _finish(engine: Engine, ids: list[UUID]) -> None:
    """Finish the requests, also those whose issue does not exist, as after a restore."""
    with engine.begin() as connection:
        connection.execute(_FINISH, {"ids": ids})


def _fetch(engine: Engine, query: TextClause, **values: Any) -> list[Row[Any]]:
    with engine.connect() as connection:
        return list(connection.execute(query, values))
