"""Tasks on issues."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from uuid import UUID

from sqlalchemy import ARRAY, Connection, Uuid, any_, bindparam, insert, select, text

from app.celery_app import app
from app.database.config import autocommit
from app.enrichment import interface, selection
from app.enrichment.interface import IssueText
from app.ledger.batch_task import BatchTask
from app.ledger.errors import ProviderError, SkipJob, TransientError
from app.ledger.task import LedgerTask
from app.settings import settings
from app.tasks.index import Indexing, create_indexing, enqueue_indexings
from app.tasks.tagging import choose_tags
from contracts import names, tracing
from contracts.messages import EnrichIssue
from contracts.tables import Enrichment, Issue

_IDS = bindparam("issues", type_=ARRAY(Uuid()))
_TEXTS = select(Issue.id, Issue.title, Issue.description, Issue.project).where(
    Issue.id == any_(_IDS), Issue.deleted_at.is_(None)
)
_STORE_RESULTS = insert(Enrichment)
# A run that was created later may have finished earlier, with a newer text.
_UPDATE_ISSUES = text("""
UPDATE issue SET ai_summary = given.summary, tags = given.tags, updated_at = now()
FROM unnest(CAST(:issues AS uuid[]), CAST(:runs AS uuid[]), CAST(:summaries AS text[]), CAST(:tags AS text[]))
    AS given (issue_id, run, summary, tags)
WHERE issue.id = given.issue_id
    AND NOT EXISTS (SELECT FROM enrichment WHERE issue_id = given.issue_id AND job_id > given.run)
""")


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a run, before it is stored."""

    message: EnrichIssue
    result: interface.Enrichment
    duration_ms: float
    indexing: Indexing


class EnrichTask(BatchTask):
    """Reads the texts of several issues, and writes the results of several runs."""

    abstract = True

    def load(self, messages: Sequence[EnrichIssue]) -> dict[UUID, IssueText]:
        """Return the texts of existing issues by job id."""
        with autocommit.connect() as connection:
            rows = connection.execute(_TEXTS, {"issues": [message.issue_id for message in messages]})
            texts = {row.id: IssueText(row.title, row.description, row.project) for row in rows}
        return {each.job_id: texts[each.issue_id] for each in messages if each.issue_id in texts}

    def store(self, connection: Connection, results: Sequence[Run]) -> None:
        """Store the results, write those of the newest runs to their issues, and enqueue the indexing."""
        runs = sorted(results, key=lambda run: run.message.job_id)
        newest = {run.message.issue_id: run for run in runs}
        tags = choose_tags(
            connection, {issue: [tag.name for tag in run.result.tags] for issue, run in newest.items()}
        )
        connection.execute(_STORE_RESULTS, [_row(run) for run in runs])
        connection.execute(
            _UPDATE_ISSUES,
            {
                "issues": [str(issue) for issue in newest],
                "runs": [str(run.message.job_id) for run in newest.values()],
                "summaries": [run.result.summary for run in newest.values()],
                "tags": [",".join(tags[issue]) for issue in newest],
            },
        )
        enqueue_indexings(connection, [run.indexing for run in runs])


@app.task(name=names.Task.ENRICH_ISSUE.value, base=EnrichTask, bind=True, provider=selection.PROVIDER)
def enrich_issue(self: LedgerTask, message: EnrichIssue, source: IssueText | None) -> Run:
    """Enrich an issue with a summary and tags. Tags that a person set are never overwritten."""
    if settings.ai == "off":
        raise SkipJob("AI is off")
    if source is None:
        raise SkipJob("the issue does not exist")
    started = perf_counter()
    result = _enrich(self, source)
    return Run(message, result, round((perf_counter() - started) * 1000, 1), create_indexing(message))


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


def _row(run: Run) -> dict[str, object]:
    priority = run.result.priority
    return {
        "job_id": run.message.job_id,
        "issue_id": run.message.issue_id,
        "summary": run.result.summary,
        "tags": [{"name": tag.name, "confidence": tag.confidence} for tag in run.result.tags],
        "priority": None if priority is None else {"value": priority.value, "reason": priority.reason},
        "language": run.result.language,
        "provenance": {
            **run.result.provenance.as_dict(),
            "contract_version": run.message.contract_version,
            "duration_ms": run.duration_ms,
        },
    }
