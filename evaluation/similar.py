"""Evaluates the search for similar issues with the API's statements, the worker's indexing and a real PostgreSQL.

TRAIN is the corpus (id, group, title, body), and DATA has the pairs (query, duplicate_of). A hit is any other
issue of the query's group among the first ten results. In the corpus, older issues have lower ids. All issues are
open.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import psutil
from sqlalchemy import URL, Engine, create_engine, insert
from sqlalchemy.orm import Session

from api.database import Database, open_database
from api.settings import ApiSettings
from api.similar import repository
from api.similar.schemas import SimilarIssue
from app.tasks.index import build_search_entry, write_entry
from contracts.ids import new_id
from contracts.limits import DESCRIPTION_MAX, TITLE_MAX
from contracts.tables import Issue
from evaluation.issues import Row, read_rows
from evaluation.server import run_server

if TYPE_CHECKING:
    from app.enrichment.embedding import Embedder

FIRST = 10
BATCH = 500
MIB = 2**20
VECTORS_ALONE = """
SELECT issue_id FROM issue_search WHERE issue_id <> $1
ORDER BY embedding::vector(384) <=> (SELECT embedding FROM issue_search WHERE issue_id = $1)::vector(384) LIMIT $2
"""

Find = Callable[[UUID], Awaitable[list[UUID]]]


@dataclass(frozen=True)
class Corpus:
    """The ids and the groups of the corpus in the database."""

    ids: dict[int, UUID]
    group_of: dict[UUID, int]


def evaluate(train: Path | None, data: Path) -> dict[str, Any]:
    """Return recall at ten of each search method, false likely duplicates, and the costs."""
    if train is None:
        raise ValueError("the task similar needs the corpus. Set TRAIN=FILE")
    rows = sorted(read_rows(train, "id", "group", "title", "body"), key=lambda row: int(row["id"]))
    pairs = read_rows(data, "query", "duplicate_of")
    known = {row["id"] for row in rows}
    queries = sorted({pair["query"] for pair in pairs} & known)
    if not queries:
        raise ValueError("none of the queries in DATA is in TRAIN")
    embedder, megabytes = _load_model()
    with run_server() as url:
        engine = create_engine(url.set(drivername="postgresql+psycopg2"))
        corpus, embedding_ms = _index(engine, rows, embedder)
        engine.dispose()
        found = asyncio.run(_search(url, corpus, queries))
    return {
        "queries": len(queries),
        "corpus": len(rows),
        **found,
        "embedding_cpu_ms": _percentiles(embedding_ms),
        "model_memory_mib": megabytes,
    }


def _load_model() -> tuple["Embedder", int]:
    """Return the model and the growth of this process in MiB, after embedding a text of maximum length."""
    process = psutil.Process()
    before = process.memory_info().rss
    # Imported here, so that the memory of the import is included.
    from app.enrichment.embedding import Embedder  # noqa: PLC0415

    embedder = Embedder()
    embedder.embed("word " * 1000)
    return embedder, round((process.memory_info().rss - before) / MIB)


def _index(engine: Engine, rows: Sequence[Row], embedder: "Embedder") -> tuple[Corpus, list[float]]:
    """Store and index the corpus; return its ids, and the CPU time of each index entry in milliseconds."""
    corpus = Corpus({row["id"]: new_id() for row in rows}, {})
    embedding_ms = []
    for start in range(0, len(rows), BATCH):
        with Session(engine) as session, session.begin():
            for row in rows[start : start + BATCH]:
                issue_id = corpus.ids[row["id"]]
                corpus.group_of[issue_id] = row["group"]
                title, description = row["title"][:TITLE_MAX] or "-", row["body"][:DESCRIPTION_MAX]
                session.execute(insert(Issue).values(id=issue_id, title=title, description=description))
                began = time.thread_time()
                entry = build_search_entry(title, description, embedder)
                embedding_ms.append((time.thread_time() - began) * 1000)
                write_entry(session.connection(), issue_id, entry)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    return corpus, embedding_ms


async def _search(url: URL, corpus: Corpus, queries: Sequence[int]) -> dict[str, Any]:
    query_ids = [corpus.ids[query] for query in queries]
    async with open_database(ApiSettings(database_url=url.render_as_string())) as database:
        waits_ms: list[float] = []

        async def with_model(issue_id: UUID) -> list[UUID]:
            began = time.perf_counter()
            items = await _items(database, issue_id, FIRST)
            waits_ms.append((time.perf_counter() - began) * 1000)
            return [item.id for item in items]

        async def with_statement(issue_id: UUID, statement: str, column: str) -> list[UUID]:
            return [row[column] for row in await database.fetch(statement, issue_id, FIRST)]

        result: dict[str, Any] = {
            "recall_at_10": await _recall(corpus, query_ids, with_model),
            "recall_at_10_vectors_alone": await _recall(
                corpus, query_ids, lambda issue_id: with_statement(issue_id, VECTORS_ALONE, "issue_id")
            ),
            "recall_at_10_text_alone": await _recall(
                corpus, query_ids, lambda issue_id: with_statement(issue_id, repository.BY_TEXT, "id")
            ),
            "similar_query_ms": _percentiles(waits_ms),
            **await _likely_duplicates(database, corpus),
        }
        # The state of rows that were indexed without a model.
        await database.execute("UPDATE issue_search SET embedding = NULL, model = NULL")
        await database.execute("ANALYZE issue_search")
        result["recall_at_10_without_model"] = await _recall(corpus, query_ids, with_model)
    return result


async def _items(database: Database, issue_id: UUID, limit: int) -> list[SimilarIssue]:
    similar = await repository.find_similar(database, issue_id, limit)
    assert similar is not None
    return similar.items


async def _recall(corpus: Corpus, query_ids: Sequence[UUID], find: Find) -> float:
    hits = [_is_hit(corpus, issue_id, await find(issue_id)) for issue_id in query_ids]
    return round(sum(hits) / len(hits), 4)


def _is_hit(corpus: Corpus, issue_id: UUID, found: Iterable[UUID]) -> bool:
    return any(corpus.group_of[other] == corpus.group_of[issue_id] for other in found)


async def _likely_duplicates(database: Database, corpus: Corpus) -> dict[str, float]:
    """Return the shares of issues with likely duplicates from another group, and from their own group."""
    falsely, rightly = 0, 0
    for issue_id, group in corpus.group_of.items():
        marked = [item.id for item in await _items(database, issue_id, 20) if item.likely_duplicate]
        falsely += any(corpus.group_of[other] != group for other in marked)
        rightly += any(corpus.group_of[other] == group for other in marked)
    issues = len(corpus.group_of)
    return {
        "false_likely_duplicates": round(falsely / issues, 5),
        "true_likely_duplicates": round(rightly / issues, 5),
    }


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    p50, p95 = np.percentile(values, [50, 95])
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1)}
