"""Search for similar issues: full text with inverse document frequencies, vectors, and a fusion of both.

Workers write the rows of `issue_search`. Every step is bounded for any number of issues: the issue's most
distinctive lexemes, the documents with the rarer of them, the best of these by BM25 (Robertson and Zaragoza,
2009), the nearest vectors by HNSW, and reciprocal rank fusion (Cormack and others, 2009). PostgreSQL's `ts_rank`
ignores document frequencies. Here they come from ANALYZE, and are exact for fetched documents.
docs/decisions/0005-similar-issues.md has the measurements behind the constants.
"""

from uuid import UUID

import asyncpg

from api.database import Database
from api.similar.schemas import Match, SimilarIssue, SimilarIssues
from contracts.states import IssueStatus

LIKELY_DUPLICATE = 0.85
"""Minimum cosine of a likely duplicate."""
LIKELY_DUPLICATE_TEXT = 0.3
"""Minimum share of the distinctive words in a likely duplicate."""
MEANING_FLOOR = 0.35
"""Minimum cosine of issues with a similar meaning."""
TEXT_FLOOR = 0.1
"""Minimum share of the distinctive words in issues with a similar text."""
FULL_TEXT = "full text"

_OPEN = ", ".join(f"'{status}'" for status in (IssueStatus.OPEN, IssueStatus.IN_PROGRESS))

_PROFILE = """
SELECT search.issue_id IS NOT NULL AS indexed,
    embedding IS NOT NULL AND to_regclass('ix_issue_search_embedding') IS NOT NULL AS has_meaning
FROM issue LEFT JOIN issue_search search ON search.issue_id = issue.id
WHERE issue.id = $1 AND deleted_at IS NULL
"""

# The given issue. If it is not indexed yet, the words of its title are used.
_TARGET = """
target AS MATERIALIZED (
    SELECT issue.id, title, project, created_at, embedding, model,
        coalesce(words, setweight(to_tsvector('english', title), 'A')) AS words
    FROM issue LEFT JOIN issue_search ON issue_id = issue.id
    WHERE issue.id = $1
)"""

_TF = "cardinality(positions) + 4.0 * cardinality(array_positions(weights, 'A'))"
"""SQL: the frequency of a lexeme in a document; occurrences in the title count five times."""

# The query: the 32 lexemes with the highest weight. `documents` is the number of documents with each, by ANALYZE.
_CHOSEN = rf"""
corpus AS MATERIALIZED (
    SELECT greatest(reltuples, 1000)::float AS size FROM pg_class WHERE oid = 'issue_search'::regclass
), frequency AS MATERIALIZED (
    SELECT lexeme, share
    FROM pg_stats, unnest(most_common_elems::text::text[], most_common_elem_freqs) AS listed (lexeme, share)
    WHERE schemaname = current_schema AND tablename = 'issue_search' AND attname = 'words'
), word AS (
    SELECT lexeme, tf / (tf + 1.5) AS weight, greatest(size * share, 1) AS documents
    FROM (SELECT lexeme, {_TF} AS tf FROM target, unnest(words)) occurrence
    CROSS JOIN corpus LEFT JOIN frequency USING (lexeme)
), chosen AS MATERIALIZED (
    SELECT lexeme, weight, documents,
        ('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''')::tsquery AS query
    FROM word CROSS JOIN corpus ORDER BY weight * ln(1 + size / documents) DESC, lexeme LIMIT 32
)"""

# Documents of the rarest lexemes first, until 15,000 are expected; at most 5,000 per lexeme.
_HIT = """
hit AS MATERIALIZED (
    SELECT lexeme, found.issue_id
    FROM (SELECT *, sum(documents) OVER (ORDER BY documents, lexeme) AS expected FROM chosen) ordered
    CROSS JOIN LATERAL (SELECT issue_id FROM issue_search WHERE words @@ query LIMIT 5000) found
    WHERE expected - documents < 15000
), term AS MATERIALIZED (
    SELECT lexeme, weight * ln(1 + greatest(size - df + 0.5, 0) / (df + 0.5)) AS weight
    FROM (
        SELECT lexeme, weight, greatest(documents, fetched) AS df
        FROM chosen LEFT JOIN (SELECT lexeme, count(*) AS fetched FROM hit GROUP BY lexeme) exact USING (lexeme)
    ) counted CROSS JOIN corpus
)"""

_NEAR = """
near AS MATERIALIZED (
    SELECT issue_id FROM issue_search
    WHERE issue_id <> $1 AND model = (SELECT model FROM target)
    ORDER BY embedding::vector(384) <=> (SELECT embedding FROM target)::vector(384) LIMIT 40
)"""
_NOTHING_NEAR = "near AS (SELECT NULL::uuid AS issue_id WHERE false)"

# BM25 with k1 = 2 and b = 0.75, for the documents that share most with the issue and for the nearest vectors. The
# length of a document is its number of lexemes, on average 35. Scores are divided by the issue's own score.
_ALIKE = f"""
shortlist AS (
    (
        SELECT issue_id FROM hit JOIN term USING (lexeme)
        GROUP BY issue_id ORDER BY sum(weight) DESC, issue_id LIMIT 150
    )
    UNION SELECT issue_id FROM near
    UNION SELECT $1
), document AS MATERIALIZED (
    SELECT shortlist.issue_id, coalesce(search.words, target.words) AS words
    FROM shortlist CROSS JOIN target LEFT JOIN issue_search search USING (issue_id)
), scored AS MATERIALIZED (
    SELECT issue_id, sum(weight * tf / (tf + 2 * (0.25 + 0.75 * length / 35))) AS score
    FROM (
        SELECT issue_id, length(words) AS length, lexeme, {_TF} AS tf FROM document, unnest(words)
    ) occurrence JOIN term USING (lexeme)
    GROUP BY issue_id
), itself AS (
    SELECT coalesce(max(score), 'infinity') AS score FROM scored WHERE issue_id = $1
), alike AS MATERIALIZED (
    SELECT issue_id, least(coalesce(scored.score, 0) / itself.score, 1) AS likeness
    FROM shortlist CROSS JOIN itself LEFT JOIN scored USING (issue_id) WHERE issue_id <> $1
)"""

# Reciprocal rank fusion, in which meaning has a greater weight than text.
_FUSED = """
compared AS MATERIALIZED (
    SELECT issue_id, likeness, CASE WHEN search.model = target.model
        THEN 1 - (search.embedding::vector(384) <=> target.embedding::vector(384)) END AS cosine
    FROM alike JOIN issue_search search USING (issue_id) CROSS JOIN target
), candidate AS (
    SELECT issue_id, likeness, cosine,
        1.0 / (20 + row_number() OVER (ORDER BY cosine DESC NULLS LAST, issue_id))
        + 0.7 / (20 + row_number() OVER (ORDER BY likeness DESC, issue_id)) AS relevance
    FROM compared
)"""

# Without a vector: the issue is not indexed, the worker has no model, or the database has no pgvector.
_TEXT_ONLY = "candidate AS (SELECT issue_id, likeness, NULL::float AS cosine, likeness AS relevance FROM alike)"

_ANSWER = f"""
SELECT issue.id, issue.title, issue.status, cosine, likeness,
    CASE WHEN cosine IS NOT NULL THEN target.model END AS model,
    likeness >= {TEXT_FLOOR} AS in_text, coalesce(cosine >= {MEANING_FLOOR}, false) AS in_meaning,
    coalesce(cosine > {LIKELY_DUPLICATE} AND likeness >= {LIKELY_DUPLICATE_TEXT}, false)
        AND issue.status IN ({_OPEN}) AND issue.project = target.project
        AND (issue.created_at, issue.id) < (target.created_at, target.id) AS likely_duplicate
FROM candidate JOIN issue ON issue.id = issue_id CROSS JOIN target
WHERE (cosine >= {MEANING_FLOOR} OR likeness >= {TEXT_FLOOR})
    AND issue.deleted_at IS NULL AND issue.duplicate_of IS NULL
ORDER BY relevance DESC, issue.id LIMIT $2
"""


def _statement(near: str, candidate: str) -> str:
    return f"WITH {_TARGET}, {_CHOSEN}, {_HIT}, {near}, {_ALIKE}, {candidate} {_ANSWER}"


BY_BOTH = _statement(_NEAR, _FUSED)
BY_TEXT = _statement(_NOTHING_NEAR, _TEXT_ONLY)


async def find_similar(database: Database, issue_id: UUID, limit: int) -> SimilarIssues | None:
    """Return at most `limit` similar issues, most relevant first, or None if the issue does not exist."""
    profile = await database.fetchrow(_PROFILE, issue_id)
    if profile is None:
        return None
    rows = await database.fetch(BY_BOTH if profile["has_meaning"] else BY_TEXT, issue_id, limit)
    return SimilarIssues(indexed=profile["indexed"], items=[_similar(row) for row in rows])


def _similar(row: asyncpg.Record) -> SimilarIssue:
    has_cosine = row["cosine"] is not None
    return SimilarIssue(
        id=row["id"],
        title=row["title"],
        status=row["status"],
        score=min(max(row["cosine"] if has_cosine else row["likeness"], 0), 1),
        by=row["model"] if has_cosine else FULL_TEXT,
        matched_by=[match for match in Match if row[f"in_{match}"]],
        likely_duplicate=row["likely_duplicate"],
    )
