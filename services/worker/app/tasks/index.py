"""Makes an issue findable by its words and its meaning, in a job of its own: enrichment waits for no model."""

from functools import cache
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, Connection, bindparam, func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.celery_app import app
from app.database.config import autocommit
from app.enrichment.cleaning import clean_inline, paragraphs
from app.ledger.errors import SkipJob
from app.ledger.store import Effect
from app.ledger.task import LedgerTask
from contracts import CONTRACT_VERSION, tracing
from contracts.ids import new_id
from contracts.messages import IndexIssue
from contracts.names import QUEUE_OF, Task
from contracts.tables import Issue, IssueSearch, Job

if TYPE_CHECKING:
    from app.enrichment.embedding import Embedder

logger = structlog.get_logger(__name__)

_ENQUEUE = insert(Job)
_TEXT = select(Issue.title, Issue.description).where(Issue.id == bindparam("issue"), Issue.deleted_at.is_(None))


def enqueue_index(connection: Connection, issue_id: UUID, request_id: str | None = None) -> None:
    """Insert the job that indexes the issue, in the caller's transaction; the dispatcher finds it."""
    job_id = new_id()
    message = IndexIssue(
        contract_version=CONTRACT_VERSION,
        job_id=job_id,
        issue_id=issue_id,
        request_id=request_id,
        traceparent=tracing.traceparent(),
    )
    connection.execute(
        _ENQUEUE,
        {
            "id": job_id,
            "task": Task.INDEX_ISSUE,
            "queue": QUEUE_OF[Task.INDEX_ISSUE],
            "message": message.as_json(),
            "issue_id": issue_id,
        },
    )


@app.task(name=Task.INDEX_ISSUE.value, base=LedgerTask)
def index_issue(message: IndexIssue) -> Effect:
    """Store the issue's lexemes, and its vector where there is a model."""
    with autocommit.connect() as connection:
        row = connection.execute(_TEXT, {"issue": message.issue_id}).one_or_none()
    if row is None:
        raise SkipJob("the issue is gone")
    entry = search_entry(row.title, row.description, _embedder())

    def write(connection: Connection) -> None:
        write_entry(connection, message.issue_id, entry)

    return write


def search_entry(title: str, description: str, embedder: "Embedder | None") -> dict[str, object]:
    """Return the columns of `issue_search` that follow from an issue's text; without a model no vector."""
    heading = clean_inline(title) or title
    body = paragraphs(description)
    entry: dict[str, object] = {
        "words": _lexemes(heading, "A").op("||")(_lexemes(" ".join(part.text for part in body), "B")),
        "embedding": None,
        "model": None,
        "indexed_at": func.now(),
    }
    if embedder is not None:
        # What says what the issue is comes before its details: the model reads no further than its first words.
        body.sort(key=lambda part: -part.weight)
        text = ". ".join([heading, *(part.text for part in body)])
        entry |= {"embedding": embedder.embed(text).tolist(), "model": embedder.name}
    return entry


def write_entry(connection: Connection, issue_id: UUID, entry: dict[str, object]) -> None:
    """Write an issue's row of `issue_search`, in place of an older one."""
    connection.execute(
        upsert(IssueSearch)
        .values(issue_id=issue_id, **entry)
        .on_conflict_do_update(index_elements=[IssueSearch.issue_id], set_=entry)
    )


def _lexemes(text: str, weight: str) -> ColumnElement[str]:
    return func.setweight(func.to_tsvector("english", text), weight)


@cache
def _embedder() -> "Embedder | None":
    """Return this process's model, loaded for its first issue; None, said once, where it cannot be."""
    try:
        # Here, since it takes a second and memory that a process which only enriches has no use for.
        from app.enrichment.embedding import Embedder  # noqa: PLC0415

        return Embedder()
    except ImportError as error:
        logger.warning("embedding_skipped", error=str(error))
        return None
