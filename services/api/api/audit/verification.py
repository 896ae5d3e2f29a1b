"""Check the chain over the audit log, one page per request, in two passes.

The first pass reads the entries: each has a seal, or waits for one with its digest. The second pass reads the
seals: numbers without gaps, hashes, and the digests of the entries, also of those sealed meanwhile. Each page is
one statement.
"""

from typing import Annotated, Any, NamedTuple
from uuid import UUID

import asyncpg
from pydantic import Field

from api.audit.schemas import AuditFault, AuditHead, AuditVerification
from api.database import Database

PAGE = 10_000


class Position(NamedTuple):
    """The end of a page. In the first pass, the seal is None."""

    seal: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    entry: UUID | None = None


START = Position()
UNSEALED_MAX = "10 minutes"

# As in migration 0018, but without functions that the owner of the tables can replace.
_DIGEST = """
sha256(convert_to(jsonb_build_array(
    entry.id, entry.actor, entry.actor_id, entry.action, entry.subject, entry.detail,
    extract(epoch FROM entry.created_at)
)::text, 'UTF8'))
"""
_FIRST_FAULT = """
(jsonb_agg(
    jsonb_build_object('reason', reason, 'entry_id', entry_id, 'number', number, 'created_at', created_at)
    ORDER BY number, entry_id
) FILTER (WHERE reason IS NOT NULL))->0 AS fault
"""
_SEALS = f"""
WITH page AS (SELECT * FROM audit_seal WHERE number > $1 ORDER BY number LIMIT {PAGE}), checked AS (
    SELECT seal.number, seal.entry_id, seal.hash, entry.created_at, CASE
        WHEN seal.number IS DISTINCT FROM lag(seal.number, 1, $1::bigint) OVER in_order + 1 THEN 'seal_missing'
        WHEN seal.hash IS DISTINCT FROM sha256(
            coalesce(
                lag(seal.hash, 1, (SELECT hash FROM audit_seal WHERE number = $1 AND $1 > 0)) OVER in_order, ''
            ) || int8send(seal.number) || uuid_send(seal.entry_id) || seal.digest
        ) THEN 'seal_changed'
        WHEN entry.id IS NULL THEN 'deleted'
        WHEN seal.digest IS DISTINCT FROM {_DIGEST} THEN 'changed'
    END AS reason
    FROM page seal LEFT JOIN audit_log entry ON entry.id = seal.entry_id
    WINDOW in_order AS (ORDER BY seal.number)
)
SELECT count(*) AS seals, bool_or(hash = $2) AS contains_head,
    max(number) AS number, (array_agg(hash ORDER BY number DESC))[1] AS hash, {_FIRST_FAULT}
FROM checked
"""
_ENTRIES = f"""
WITH page AS (
    SELECT * FROM audit_log WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT {PAGE}
), checked AS (
    SELECT entry.id AS entry_id, entry.created_at, NULL::bigint AS number, pending.entry_id AS pending, CASE
        WHEN pending.entry_id IS NULL AND NOT EXISTS (
            SELECT FROM audit_seal WHERE audit_seal.entry_id = entry.id AND number > 0
        ) THEN 'forged'
        WHEN pending.entry_id IS NOT NULL AND pending.digest IS DISTINCT FROM {_DIGEST} THEN 'changed'
        WHEN pending.entry_id IS NOT NULL AND entry.created_at < now() - interval '{UNSEALED_MAX}' THEN 'unsealed'
    END AS reason
    FROM page entry LEFT JOIN audit_pending pending ON pending.entry_id = entry.id
    UNION ALL
    SELECT entry_id, NULL, NULL, entry_id, 'deleted' FROM audit_pending
    WHERE $1 IS NULL AND NOT EXISTS (SELECT FROM audit_log WHERE id = entry_id)
)
SELECT count(*) AS entries, count(pending) AS waiting, min(created_at) AS first_at, max(created_at) AS last_at,
    max(entry_id::text COLLATE "C") AS last_id, {_FIRST_FAULT}
FROM checked
"""
_DETAILS = {
    "seal_missing": "Seals before this one were deleted.",
    "seal_changed": "The seal was changed.",
    "deleted": "The entry was deleted.",
    "changed": "The entry was changed.",
    "unsealed": f"The entry has waited for its seal for more than {UNSEALED_MAX}. Check that an API runs.",
    "forged": "The entry has no seal. IssueTracker did not write it, or the seal was deleted.",
}


async def verify_page(
    database: Database, position: Position, head: str | None
) -> tuple[AuditVerification, Position | None]:
    """Check the page after the position; return its result and its end, or None if nothing is left to check.

    `head` is a hash in hexadecimal digits to look for.
    """
    if position.seal is not None:
        return await _verify_seals(database, position.seal, head)
    page, following = await _verify_entries(database, position.entry)
    page.contains_head = None if head is None else False
    return page, following


async def _verify_seals(
    database: Database, after: int, head: str | None
) -> tuple[AuditVerification, Position | None]:
    row = await _fetch(database, _SEALS, after, None if head is None else bytes.fromhex(head))
    page = AuditVerification(
        seals=row["seals"],
        contains_head=None if head is None else bool(row["contains_head"]),
        head=AuditHead(number=row["number"], hash=row["hash"].hex()) if row["seals"] else None,
        fault=_describe(row["fault"]),
    )
    is_last = page.fault is not None or page.seals < PAGE
    return page, None if is_last else Position(seal=row["number"])


async def _verify_entries(database: Database, after: UUID | None) -> tuple[AuditVerification, Position | None]:
    row = await _fetch(database, _ENTRIES, after)
    names = ("entries", "waiting", "first_at", "last_at")
    page = AuditVerification(**{name: row[name] for name in names}, fault=_describe(row["fault"]))
    if page.fault is not None:
        return page, None
    return page, Position(seal=0) if page.entries < PAGE else Position(entry=UUID(row["last_id"]))


async def _fetch(database: Database, query: str, *values: Any) -> asyncpg.Record:
    """Return the row of a query, planned for the current sizes of the tables.

    A stored plan that was made for small tables takes minutes on large ones. Functions and operators that the
    owner of the tables has created cannot replace those of PostgreSQL.
    """
    async with database.transaction():
        await database.execute("SET LOCAL search_path = pg_catalog, public, pg_temp")
        await database.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        row = await database.fetchrow(query, *values)
    assert row is not None
    return row


def _describe(fault: dict[str, Any] | None) -> AuditFault | None:
    return None if fault is None else AuditFault(detail=_DETAILS[fault.pop("reason")], **fault)
