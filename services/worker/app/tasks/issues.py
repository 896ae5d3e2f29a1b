"""Tasks on issues."""

from time import perf_counter

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from app.celery_app import app
from app.database.config import SyncSessionLocal
from app.enrichment.interface import Enricher, IssueText
from app.enrichment.local import LocalEnricher
from app.ledger.errors import Skip
from app.ledger.store import Effect
from app.ledger.task import LedgerTask
from contracts import names
from contracts.messages import EnrichIssue
from contracts.tables import Enrichment, Issue

enricher: Enricher = LocalEnricher()


@app.task(name=names.Task.ENRICH_ISSUE.value, base=LedgerTask)
def enrich_issue(message: EnrichIssue) -> Effect:
    """Give an issue its summary and tags."""
    with SyncSessionLocal() as session:
        row = session.execute(
            select(Issue.title, Issue.description).where(Issue.id == message.issue_id)
        ).one_or_none()
    if row is None:
        raise Skip("the issue is gone")
    started = perf_counter()
    result = enricher.enrich(IssueText(row.title, row.description))
    duration_ms = round((perf_counter() - started) * 1000, 1)

    def write(session: Session) -> None:
        session.execute(
            update(Issue)
            .where(Issue.id == message.issue_id)
            .values(
                ai_summary=result.summary,
                tags=",".join(tag.name for tag in result.tags),
                updated_at=func.now(),
            )
        )
        session.execute(
            insert(Enrichment).values(
                job_id=message.job_id,
                issue_id=message.issue_id,
                summary=result.summary,
                tags=[{"name": tag.name, "confidence": tag.confidence} for tag in result.tags],
                provenance={
                    **result.provenance.as_dict(),
                    "contract_version": message.contract_version,
                    "duration_ms": duration_ms,
                },
            )
        )

    return write
