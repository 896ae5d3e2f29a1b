"""Deletion and erasure of issues: the statements that the API and the workers share.

A deletion hides an issue and ends its jobs. Its erasure comes later, in another transaction. Then no attempt that
has read the text can write.
"""

from contracts.ledger.decisions import skip_jobs_of_issues
from contracts.ledger.statement import Statement

_IDS = "CAST(:issue_ids AS uuid[])"

SERIALIZE = Statement(f"""
SELECT pg_advisory_xact_lock(hashtextextended(CAST(id AS text), 0)) FROM unnest({_IDS}) AS id
""")
"""Lock issues until the transaction ends, against changes of their text and their jobs. Pass the ids in order."""

DELETE_ISSUES = Statement(f"""
WITH deleted AS (
    UPDATE issue SET deleted_at = now(), updated_at = now() WHERE id = ANY({_IDS}) AND deleted_at IS NULL
), ended AS (
    {skip_jobs_of_issues(_IDS)}
), no_original AS (
    UPDATE issue SET duplicate_of = NULL, updated_at = now() WHERE duplicate_of = ANY({_IDS}) AND id <> ALL({_IDS})
)
DELETE FROM issue_search WHERE issue_id = ANY({_IDS})
""")
"""Hide issues, skip their jobs, and discard the results of running ones. Lock their unfinished jobs first."""


def external_digest(source: str, external_id: str) -> str:
    """Return the SQL of `erasure.external_digest`; the arguments are SQL expressions."""
    return f"sha256(convert_to({source} || chr(10) || {external_id}, 'UTF8'))"


_TOMBSTONE = f"""
INSERT INTO erasure (id, project, actor, actor_id, external_digest, requested_at, finished_at)
SELECT id, project, CAST(:actor AS text), CAST(:actor_id AS uuid),
    {external_digest("external_source", "external_id")},
    coalesce(CAST(:requested_at AS timestamptz), now()), {{finished_at}}
FROM issue WHERE id = ANY({_IDS})
ON CONFLICT (id) DO
"""

REQUEST_ERASURE = Statement(
    _TOMBSTONE.format(finished_at="CAST(NULL AS timestamptz)")
    + "UPDATE SET finished_at = NULL WHERE erasure.finished_at IS NOT NULL RETURNING id"
)
"""Request the erasure of issues; return the ids of the new requests. `requested_at` may be null: now.

If the issue of a finished erasure exists again, because a backup was restored, it is erased again.
"""

STORE_TOMBSTONES = Statement(
    _TOMBSTONE.format(finished_at="now()") + "UPDATE SET finished_at = excluded.finished_at"
)
"""Insert the tombstones of issues, or finish their requests, before the issues are erased."""
