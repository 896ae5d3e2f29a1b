"""Create and change the issues of imported rows, with one statement per step for all of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg

from api.database import Database
from api.imports.rows import Record
from api.metrics import jobs as metrics
from api.runs.repository import build_enrichment_message, lock_unfinished_of, schedule_reruns
from contracts.ids import new_id
from contracts.ledger.deletion import external_digest
from contracts.ledger.enqueue import insert_jobs
from contracts.limits import DEFAULT_PROJECT, OWN_SOURCE
from contracts.names import QUEUE_OF, Task
from contracts.states import IssueStatus, Priority

Key = tuple[str, str]
"""An external source and id."""

_FIELDS = ("title", "description", "status", "priority", "external_details")
_TEXT = {"title", "description"}

# Each condition matches an index. An erased issue counts as deleted. $3: ids of issues of this installation.
_FIND = f"""
SELECT issue.id, external_source, external_id, title, description, status, priority, external_details, edited,
    false AS is_deleted
FROM unnest($1::text[], $2::text[]) AS given (source, id)
JOIN issue ON external_source = source AND external_id = given.id AND deleted_at IS NULL
UNION ALL
SELECT issue.id, '{OWN_SOURCE}', issue.id::text, title, description, status, priority, external_details, edited,
    deleted_at IS NOT NULL
FROM issue WHERE issue.id = ANY($3::uuid[]) AND external_source IS NULL
UNION ALL
SELECT DISTINCT NULL::uuid, external_source, external_id, '', '', '', '', NULL::jsonb, NULL::text[], true
FROM unnest($1::text[], $2::text[]) AS given (source, id)
JOIN issue ON external_source = source AND external_id = given.id AND deleted_at IS NOT NULL
UNION ALL
SELECT NULL::uuid, source, given.id, '', '', '', '', NULL::jsonb, NULL::text[], true
FROM unnest($1::text[], $2::text[]) AS given (source, id)
JOIN erasure ON external_digest = {external_digest("source", "given.id")}
UNION ALL
SELECT NULL::uuid, '{OWN_SOURCE}', erasure.id::text, '', '', '', '', NULL::jsonb, NULL::text[], true
FROM erasure WHERE erasure.id = ANY($3::uuid[]) AND external_digest IS NULL
"""
_LOCK = """
SELECT id, title, description, status, priority, external_details, edited FROM issue
WHERE id = ANY($1) AND deleted_at IS NULL ORDER BY id FOR NO KEY UPDATE
"""
_CHANGE = """
UPDATE issue SET title = new.title, description = new.description, status = new.status, priority = new.priority,
    external_details = new.external_details, updated_at = now()
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[])
    AS new (id, title, description, status, priority, external_details)
WHERE issue.id = new.id
"""
# A row is omitted if another transaction has just created an issue with the same external id.
_CREATE = f"""
WITH given AS (
    SELECT * FROM unnest(
        $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
        $9::text[], $10::jsonb[], $11::timestamptz[], $12::uuid[], $13::jsonb[]
    ) AS given (
        id, source, external_id, url, project, title, description, status, priority, details, created_at,
        job_id, message
    )
), new_issue AS (
    INSERT INTO issue
        (id, external_source, external_id, external_url, project, title, description, status, priority,
        external_details, created_at)
    SELECT id, source, external_id, url, project, title, description, status, priority, details,
        coalesce(created_at, now()) FROM given
    ON CONFLICT (external_source, external_id) WHERE external_source IS NOT NULL AND deleted_at IS NULL DO NOTHING
    RETURNING id
), new_job AS (
    {
    insert_jobs(
        "given JOIN new_issue USING (id)",
        job_id="job_id",
        task="$14",
        queue="$15",
        message="message",
        issue_id="id",
        project="project",
    )
}
)
SELECT id FROM new_issue
"""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Options of an import."""

    is_dry_run: bool
    """Count changes without making them."""
    project: str | None
    """Project of new issues whose record has none."""
    rerun_after_s: float


def upsert_key(record: Record) -> Key:
    """Return the key that identifies an issue across imports."""
    return record.external.source, record.external.id


async def upsert(database: Database, records: Sequence[Record], options: ImportOptions) -> Counter[str]:
    """Apply records of different issues, within a transaction.

    Return the numbers of issues `created`, `updated`, `unchanged`, and `skipped` because a user has deleted them.
    """
    counts: Counter[str] = Counter()
    waiting = list(records)
    while waiting:
        found = await _find(database, waiting)
        new = [record for record in waiting if upsert_key(record) not in found]
        known = [(record, issue) for record in waiting if (issue := found.get(upsert_key(record)))]
        there = [(record, issue) for record, issue in known if not issue["is_deleted"]]
        changed = {issue["id"]: record for record, issue in there if _changes(record, issue)}
        counts.update(skipped=len(known) - len(there), unchanged=len(there) - len(changed))
        if options.is_dry_run:
            counts.update(created=len(new), updated=len(changed))
            break
        updated = await _change(database, changed, options)
        created = await _create(database, new, options)
        counts.update(updated=len(updated), created=len(created))
        # Another transaction was faster with the others: query them again.
        waiting = [record for record in (*changed.values(), *new) if upsert_key(record) not in updated | created]
    return counts


async def _find(database: Database, records: Sequence[Record]) -> dict[Key, asyncpg.Record]:
    """Return existing issues by key; a deleted issue only if no other has its key."""
    sources, ids = zip(*map(upsert_key, records), strict=True)
    own = [record.external.id for record in records if record.external.source == OWN_SOURCE]
    rows = await database.fetch(_FIND, sources, ids, [own_id for text in own if (own_id := _uuid(text))])
    ordered = sorted(rows, key=lambda row: not row["is_deleted"])
    return {(row["external_source"], row["external_id"]): row for row in ordered}


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _changes(record: Record, issue: asyncpg.Record) -> dict[str, Any]:
    """Return the fields in which a record differs from its issue, without those that a user has edited."""
    # An issue of this installation has no history elsewhere.
    details = (
        None if issue["external_details"] is None and record.external.source == OWN_SOURCE else record.details
    )
    stored = {**issue, "external_details": issue["external_details"] or {}}
    fields = {
        **{name: getattr(record, name) for name in ("title", "description", "status", "priority")},
        "external_details": _merge(stored["external_details"], details) if details else None,
    }
    edited = issue["edited"] or ()
    return {
        name: value
        for name, value in fields.items()
        if value is not None and value != stored[name] and name not in edited
    }


def _merge(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stored details with the given ones, without those that are None."""
    return {name: value for name, value in {**stored, **given}.items() if value is not None}


async def _change(database: Database, records: Mapping[UUID, Record], options: ImportOptions) -> set[Key]:
    """Change issues with the same locks as a PATCH; return the keys of the changed ones."""
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
    return {upsert_key(records[issue["id"]]) for issue, _ in changed}


async def _create(database: Database, records: Sequence[Record], options: ImportOptions) -> set[Key]:
    """Create issues, each with its enrichment job; return the keys of the created ones."""
    if not records:
        return set()
    made = {new_id(): record for record in records}
    rows = []
    for issue_id, record in made.items():
        message = build_enrichment_message(issue_id)
        rows.append(
            (
                *(issue_id, *upsert_key(record), record.external.url),
                *(record.project or options.project or DEFAULT_PROJECT, record.title, record.description or ""),
                *(record.status or IssueStatus.OPEN, record.priority or Priority.MEDIUM),
                *(_merge({}, record.details) or None, record.created_at, message.job_id, message.as_json()),
            )
        )
    task = Task.ENRICH_ISSUE
    created = await database.fetch(_CREATE, *zip(*rows, strict=True), task, QUEUE_OF[task])
    database.on_commit(partial(metrics.record_created, task, QUEUE_OF[task], len(created)))
    return {upsert_key(made[row["id"]]) for row in created}
