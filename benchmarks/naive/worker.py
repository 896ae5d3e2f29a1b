"""The worker: `celery -A benchmarks.naive.worker worker`. As a program, it queues every issue that waits."""

import os
import time

from celery import Celery
from sqlalchemy import create_engine, select
from sqlalchemy.orm import sessionmaker

from benchmarks.naive.models import DATABASE_URL, Base, Issue

app = Celery("naive", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_RESULT_BACKEND"])
app.conf.update(
    task_default_queue="naive",
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
    task_send_sent_event=True,
    broker_connection_retry_on_startup=True,
    task_soft_time_limit=25,
    task_time_limit=30,
)
engine = create_engine(DATABASE_URL.replace("postgresql:", "postgresql+psycopg2:"), pool_pre_ping=True)
Session = sessionmaker(engine)
WORK_S = float(os.environ.get("WORK_S", "0"))


@app.task(name="enrich_issue", bind=True, max_retries=3, default_retry_delay=60)
def enrich_issue(self: object, issue_id: str) -> dict[str, str]:
    """Give an issue its summary and tags."""
    del self
    with Session() as session:
        issue = session.get(Issue, issue_id)
        if issue is None:
            return {"status": "gone"}
        time.sleep(WORK_S)
        issue.ai_summary = f"AI Summary: {issue.title}"
        issue.tags = "bug"
        session.commit()
    return {"status": "done", "issue_id": issue_id}


if __name__ == "__main__":
    Base.metadata.create_all(engine)
    with Session() as waiting:
        for waiting_id in waiting.scalars(select(Issue.id).where(Issue.ai_summary.is_(None))).all():
            enrich_issue.delay(str(waiting_id))
