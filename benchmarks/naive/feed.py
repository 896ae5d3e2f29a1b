"""Makes the table where there is none, and hands over every issue in it that is not enriched."""

from sqlalchemy import select

from benchmarks.naive.models import Base, Issue
from benchmarks.naive.worker import Session, engine, enrich_issue


def main() -> None:
    """Hand over what waits."""
    Base.metadata.create_all(engine)
    with Session() as session:
        ids = session.scalars(select(Issue.id).where(Issue.ai_summary.is_(None))).all()
    for issue_id in ids:
        enrich_issue.delay(str(issue_id))


if __name__ == "__main__":
    main()
