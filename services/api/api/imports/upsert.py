"""Creates and changes the issues that rows of an import are about, each step one statement for all of them."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import asyncpg

from api.database import Database
from api.imports.rows import Record
from api.metrics import jobs as metrics
from api.runs.repository import enrichment_message, lock_unfinished_of, schedule_reruns
from contracts.ids import new_id
from contracts.limits import DEFAULT_PROJECT
from contracts.names import QUEUE_OF, Task
from contracts.states import IssueStatus, Priority

Key = tuple[str, str]
"""An external source and id."""

_FIELDS = ("title", "description", "status", "priority")
_TEXT = {"title", "description"}

# Each condition is that of a partial index.
_FIND = """
SELECT issue.id, external_source, external_id, title, description, status, priority, edited, false AS is_deleted
FROM unnest($1::text[], $2::text[]) AS asked (source, id)
JOIN issue ON external_source = source AND external_id = asked.id AND deleted_at IS NULL
UNION ALL
SELECT DISTINCT NULL::uuid, external_source, external_id, '', '', '', '', NULL::text[], true
FROM unnest($1::text[], $2::text[]) AS asked (source, id)
JOIN issue ON external_source = source AND external_id = asked.id AND deleted_at IS NOT NULL
"""
_LOCK = """
SELECT id, external_source, external_id, title, description, status, priority, edited FROM issue
WHERE id = ANY($1) AND deleted_at IS NULL ORDER BY id FOR NO KEY UPDATE
"""
_CHANGE = """
UPDATE issue SET title = new.title, description = new.description, status = new.status, priority = new.priority,
    updated_at = now()
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
    AS new (id, title, description, status, priority)
WHERE issue.id = new.id
"""
# An issue with the same external id that somebody else has just created leaves its row out.
_CREATE = """
WITH asked AS (
    SELECT * FROM unnest(
        $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
        $9::text[], $10::uuid[], $11::text[]
    ) AS asked (id, source, external_id, url, project, title, description, status, priority, job_id, message)
), new_issue AS (
    INSERT INTO issue
        (id, external_source, external_id, external_url, project, title, description, status, priority)
    SELECT id, source, external_id, url, project, title, description, status, priority FROM asked
    ON CONFLICT (external_source, external_id) WHERE external_source IS NOT NULL AND deleted_at IS NULL DO NOTHING
    RETURNING id
), new_job AS (
    INSERT INTO job (id, task, queue, message, issue_id)
    SELECT job_id, $12, $13, message::jsonb, id FROM asked JOIN new_issue USING (id)
)
SELECT id FROM new_issue
"""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How records are applied."""

    is_dry_run: bool
    """Nothing is changed, only counted."""
    project: str | None
    """Of new issues whose record names none."""
    rerun_after_s: float


def upsert_key(record: Record) -> Key:
    """Return what one import after another tells an issue by."""
    return record.external.source, record.external.id


async def upsert(database: Database, records: Sequence[Record], options: ImportOptions) -> Counter[str]:
    """Apply records that are about different issues, within a transaction.

    Return how many issues are `created`, `updated`, `unchanged`, and `skipped`: somebody has deleted these here.
    """
    told: Counter[str] = Counter()
    waiting = list(records)
    while waiting:
        found = await _find(database, waiting)
        new = [record for record in waiting if upsert_key(record) not in found]
        known = [(record, issue) for record in waiting if (issue := found.get(upsert_key(record)))]
        there = [(record, issue) for record, issue in known if not issue["is_deleted"]]
        changed = {issue["id"]: record for record, issue in there if _changes(record, issue)}
        told.update(skipped=len(known) - len(there), unchanged=len(there) - len(changed))
        if options.is_dry_run:
            told.update(created=len(new), updated=len(changed))
            break
        updated = await _change(database, changed, options)
        created = await _create(database, new, options)
        told.update(updated=len(updated), created=len(created))
        # Somebody was faster with the others: look again.
        waiting = [record for record in (*changed.values(), *new) if upsert_key(record) not in updated | created]
    return told


async def _find(database: Database, records: Sequence[Record]) -> dict[Key, asyncpg.Record]:
    """Return the issues that there are; one that was deleted only where there is no other."""
    sources, ids = zip(*map(upsert_key, records), strict=True)
    rows = await database.fetch(_FIND, sources, ids)
    ordered = sorted(rows, key=lambda row: not row["is_deleted"])
    return {(row["external_source"], row["external_id"]): row for row in ordered}


def _changes(record: Record, issue: asyncpg.Record) -> dict[str, str]:
    """Return what a record says otherwise than the issue, without what somebody has set here."""
    said = {name: getattr(record, name) for name in _FIELDS}
    edited = issue["edited"] or ()
    return {
        name: value
        for name, value in said.items()
        if value is not None and value != issue[name] and name not in edited
    }


async def _change(database: Database, records: Mapping[UUID, Record], options: ImportOptions) -> set[Key]:
    """Change issues as a PATCH does, by the same locks; return which still had to be."""
    if not records:
        return set()
    unfinished = await lock_unfinished_of(database, list(records))
    issues = await database.fetch(_LOCK, list(records))
    changed = [(issue, changes) for issue in issues if (changes := _changes(records[issue["id"]], issue))]
    rows = [[changes.get(name, issue[name]) for name in ("id", *_FIELDS)] for issue, changes in changed]
    if rows:
        await database.execute(_CHANGE, *zip(*rows, strict=True))
    stale = {issue["id"]: unfinished[issue["id"]] for issue, changes in changed if _TEXT & changes.keys()}
    await schedule_reruns(database, stale, options.rerun_after_s)
    return {(issue["external_source"], issue["external_id"]) for issue, _ in changed}


async def _create(database: Database, records: Sequence[Record], options: ImportOptions) -> set[Key]:
    """Create issues, each with its enrichment job; return which were."""
    if not records:
        return set()
    made = {new_id(): record for record in records}
    rows = []
    for issue_id, record in made.items():
        message = enrichment_message(issue_id)
        rows.append(
            (
                *(issue_id, *upsert_key(record), record.external.url),
                *(record.project or options.project or DEFAULT_PROJECT, record.title, record.description or ""),
                *(record.status or IssueStatus.OPEN, record.priority or Priority.MEDIUM),
                *(message.job_id, json.dumps(message.as_json())),
            )
        )
    task = Task.ENRICH_ISSUE
    created = await database.fetch(_CREATE, *zip(*rows, strict=True), task, QUEUE_OF[task])
    database.on_commit(partial(metrics.record_created, task, QUEUE_OF[task], len(created)))
    return {upsert_key(made[row["id"]]) for row in created}
