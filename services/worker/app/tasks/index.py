"""Indexes an issue for full-text and similarity search, in a separate job, so that enrichment need not wait."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, Connection, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.celery_app import app
from app.database.config import autocommit
from app.enrichment.cleaning import clean_inline, paragraphs
from app.ledger.errors import SkipJob
from app.ledger.store import Effect
from app.ledger.task import LedgerTask
from contracts import CONTRACT_VERSION, tracing
from contracts.ids import new_id
from contracts.ledger.enqueue import ENQUEUE_FOLLOWING
from contracts.messages import EnrichIssue, IndexIssue
from contracts.names import QUEUE_OF, Task
from contracts.tables import Issue, IssueSearch

if TYPE_CHECKING:
    from app.enrichment.embedding import Embedder

logger = structlog.get_logger(__name__)

_TEXT = select(Issue.title, Issue.description).where(Issue.id == bindparam("issue"), Issue.deleted_at.is_(None))


@dataclass(frozen=True, slots=True)
class Indexing:
    """A job that indexes the issue of a run."""

    cause: UUID
    """The job of the run."""
    message: IndexIssue


def create_indexing(cause: EnrichIssue) -> Indexing:
    """Return the job that indexes the issue of a run, within the span of the run."""
    message = IndexIssue(
        contract_version=CONTRACT_VERSION,
        job_id=new_id(),
        issue_id=cause.issue_id,
        request_id=cause.request_id,
        traceparent=tracing.traceparent(),
    )
    return Indexing(cause.job_id, message)


def enqueue_indexings(connection: Connection, indexings: Sequence[Indexing]) -> None:
    """Insert the jobs in the caller's transaction. The dispatcher publishes them."""
    connection.execute(
        ENQUEUE_FOLLOWING.expression,
        {
            "ids": [str(each.message.job_id) for each in indexings],
            "task": Task.INDEX_ISSUE,
            "queue": QUEUE_OF[Task.INDEX_ISSUE],
            "messages": [json.dumps(each.message.as_json()) for each in indexings],
            "causes": [str(each.cause) for each in indexings],
        },
    )


@app.task(name=Task.INDEX_ISSUE.value, base=LedgerTask)
def index_issue(message: IndexIssue) -> Effect:
    """Store the issue's lexemes, and its vector if the model is available."""
    with autocommit.connect() as connection:
        row = connection.execute(_TEXT, {"issue": message.issue_id}).one_or_none()
    if row is None:
        raise SkipJob("the issue does not exist")
    entry = build_search_entry(row.title, row.description, _embedder())

    def write(connection: Connection) -> None:
        write_entry(connection, message.issue_id, entry)

    return write


def build_search_entry(title: str, description: str, embedder: "Embedder | None") -> dict[str, object]:
    """Return the columns of `issue_search` for an issue's text. Without a model, the vector is None."""
    heading = clean_inline(title) or title
    body = paragraphs(description)
    entry: dict[str, object] = {
        "words": _lexemes(heading, "A").op("||")(_lexemes(" ".join(part.text for part in body), "B")),
        "embedding": None,
        "model": None,
        "indexed_at": func.now(),
    }
    if embedder is not None:
        # The most important paragraphs come first, because the model reads only the first words.
        body.sort(key=lambda part: -part.weight)
        text = ". ".join([heading, *(part.text for part in body)])
        entry |= {"embedding": embedder.embed(text).tolist(), "model": embedder.name}
    return entry


def write_entry(connection: Connection, issue_id: UUID, entry: dict[str, object]) -> None:
    """Insert or replace an issue's row of `issue_search`."""
    connection.execute(
        upsert(IssueSearch)
        .values(issue_id=issue_id, **entry)
        .on_conflict_do_update(index_elements=[IssueSearch.issue_id], set_=entry)
    )


def _lexemes(text: str, weight: str) -> ColumnElement[str]:
    return func.setweight(func.to_tsvector("english", text), weight)


@cache
def _embedder() -> "Embedder | None":
    """Return this process's model, loaded on first use. If it cannot be loaded, log that once and return None."""
    try:
        # Imported here, because it takes a second and memory, which processes that only enrich do not need.
        from app.enrichment.embedding import Embedder  # noqa: PLC0415

        return Embedder()
    except ImportError as error:
        logger.warning("embedding_skipped", error=str(error))
        return None
