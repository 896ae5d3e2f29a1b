"""Tasks on issues."""

from time import perf_counter

from sqlalchemy import Connection, bindparam, func, insert, select, update

from app.celery_app import app
from app.database.config import autocommit
from app.enrichment import interface, selection
from app.enrichment.interface import IssueText
from app.ledger.errors import ProviderError, SkipJob, TransientError
from app.ledger.store import Effect
from app.ledger.task import LedgerTask
from app.settings import settings
from app.tasks.index import enqueue_index
from app.tasks.tagging import choose_tags
from contracts import names, tracing
from contracts.messages import EnrichIssue
from contracts.tables import Enrichment, Issue

_TEXT = select(Issue.title, Issue.description, Issue.project).where(
    Issue.id == bindparam("issue"), Issue.deleted_at.is_(None)
)
_STORE_RESULT = insert(Enrichment)
# A run that was created later may have finished earlier, with a newer text.
_NEWER = select(Enrichment.job_id).where(
    Enrichment.issue_id == bindparam("issue"), Enrichment.job_id > bindparam("run")
)
_UPDATE_ISSUE = (
    update(Issue)
    .where(Issue.id == bindparam("issue"), ~_NEWER.exists())
    .values(ai_summary=bindparam("summary"), tags=bindparam("to"), updated_at=func.now())
)


@app.task(name=names.Task.ENRICH_ISSUE.value, base=LedgerTask, bind=True, provider=selection.PROVIDER)
def enrich_issue(self: LedgerTask, message: EnrichIssue) -> Effect:
    """Enrich an issue with a summary and tags. Tags that a person set are never overwritten."""
    if settings.ai == "off":
        raise SkipJob("AI is off")
    with autocommit.connect() as connection:
        row = connection.execute(_TEXT, {"issue": message.issue_id}).one_or_none()
    if row is None:
        raise SkipJob("the issue does not exist")
    started = perf_counter()
    result = _enrich(self, IssueText(row.title, row.description, row.project))
    duration_ms = round((perf_counter() - started) * 1000, 1)

    def write(connection: Connection) -> None:
        tags = choose_tags(connection, message.issue_id, [tag.name for tag in result.tags])
        connection.execute(_STORE_RESULT, _row(message, result, duration_ms))
        connection.execute(
            _UPDATE_ISSUE,
            {"run": message.job_id, "issue": message.issue_id, "summary": result.summary, "to": ",".join(tags)},
        )
        enqueue_index(connection, message)

    return write


def _enrich(task: LedgerTask, issue: IssueText) -> interface.Enrichment:
    """Enrich with the configured provider; if it fails on the last attempt, enrich locally."""
    try:
        with tracing.span("enrich", {"provider": selection.PROVIDER or "local"}):
            return selection.enricher.enrich(issue)
    except TransientError as error:
        if not task.is_last_attempt:
            raise
        task.provider_error = error if isinstance(error, ProviderError) else None
        return selection.enrich_without_provider(issue, error)


def _row(message: EnrichIssue, result: interface.Enrichment, duration_ms: float) -> dict[str, object]:
    priority = result.priority
    return {
        "job_id": message.job_id,
        "issue_id": message.issue_id,
        "summary": result.summary,
        "tags": [{"name": tag.name, "confidence": tag.confidence} for tag in result.tags],
        "priority": None if priority is None else {"value": priority.value, "reason": priority.reason},
        "language": result.language,
        "provenance": {
            **result.provenance.as_dict(),
            "contract_version": message.contract_version,
            "duration_ms": duration_ms,
        },
    }
