"""Decisions on suggestions in the database."""

from collections.abc import Sequence
from uuid import UUID

from api.database import Database
from api.issues.repository import EDITED
from api.suggestions.schemas import Acceptance, EnrichmentStatistics, TagAcceptance
from contracts.states import Priority, TagVerdict

_SET = f"""
UPDATE issue SET tags = array_to_string($2::text[], ','), priority = coalesce($3, priority),
    edited = CASE WHEN $3 IS NULL THEN edited ELSE {EDITED.format("'priority'::text")} END,
    tags_confirmed_at = CASE WHEN $4 THEN now() ELSE tags_confirmed_at END, updated_at = now()
WHERE id = $1
"""
_STORE = """
INSERT INTO tag_feedback (issue_id, tag, verdict, confidence)
SELECT $1, tag, $2, confidence FROM unnest($3::text[], $4::float[]) AS suggested (tag, confidence)
ON CONFLICT (issue_id, tag) DO UPDATE
SET verdict = excluded.verdict, confidence = excluded.confidence, created_at = excluded.created_at
"""
_DELETE_VERDICTS = "DELETE FROM tag_feedback WHERE issue_id = $1 AND tag = ANY($2::text[])"
_STORE_PRIORITY = """
INSERT INTO priority_feedback (issue_id, value, verdict) VALUES ($1, $2, $3)
ON CONFLICT (issue_id) DO UPDATE
SET value = excluded.value, verdict = excluded.verdict, created_at = excluded.created_at
"""
_TAGS = """
SELECT tag, count(*) FILTER (WHERE verdict = 'accepted') AS accepted,
    count(*) FILTER (WHERE verdict = 'rejected') AS rejected, count(*) FILTER (WHERE verdict = 'added') AS added
FROM tag_feedback GROUP BY tag ORDER BY tag
"""
_PRIORITIES = """
SELECT count(*) FILTER (WHERE verdict = 'accepted') AS accepted,
    count(*) FILTER (WHERE verdict = 'rejected') AS rejected
FROM priority_feedback
"""


async def set_chosen(
    database: Database, issue_id: UUID, tags: Sequence[str], priority: Priority | None, *, is_confirmed: bool
) -> None:
    """Set an issue's tags, and its priority unless it is None; `is_confirmed` marks all tags as confirmed."""
    await database.execute(_SET, issue_id, tags, priority, is_confirmed)


async def store_verdict(
    database: Database, issue_id: UUID, verdict: TagVerdict, confidences: dict[str, float]
) -> None:
    """Store a decision on suggested tags, with their confidences."""
    await database.execute(_STORE, issue_id, verdict, list(confidences), list(confidences.values()))


async def delete_verdicts(database: Database, issue_id: UUID, tags: Sequence[str]) -> None:
    """Delete the decisions on replaced tags."""
    await database.execute(_DELETE_VERDICTS, issue_id, tags)


async def store_priority_verdict(database: Database, issue_id: UUID, value: Priority, verdict: TagVerdict) -> None:
    """Store a decision on a suggested priority."""
    await database.execute(_STORE_PRIORITY, issue_id, value, verdict)


async def get_statistics(database: Database) -> EnrichmentStatistics:
    """Return the numbers of accepted and rejected suggestions."""
    tags = await database.fetch(_TAGS)
    priorities = await database.fetchrow(_PRIORITIES)
    assert priorities is not None
    return EnrichmentStatistics(
        tags=[TagAcceptance(**row, acceptance=_share(row["accepted"], row["rejected"])) for row in tags],
        priority=Acceptance(**priorities, acceptance=_share(priorities["accepted"], priorities["rejected"])),
    )


def _share(accepted: int, rejected: int) -> float | None:
    return accepted / (accepted + rejected) if accepted + rejected else None
