"""Render due jobs as messages, with their spans and log lines."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import structlog

from api.dispatch.envelope import encode_message
from api.dispatch.ledger import DueJob
from contracts import tracing

_LOG_FIELDS: tuple[str, ...] = ("request_id", "issue_id")

logger = structlog.get_logger(__name__)


@contextmanager
def render_messages(jobs: Sequence[DueJob]) -> Iterator[list[bytes]]:
    """Yield the jobs' messages; log each job after the body has published them.

    A job of a traced request gets a child span, which its attempt continues. Each retry is published again and is
    another branch of the same trace.
    """
    with ExitStack() as spans:
        yield [_message(job, spans) for job in jobs]
    for job in jobs:
        logger.info("job_published", **_fields(job))


def _message(job: DueJob, spans: ExitStack) -> bytes:
    message = job.message
    parent = message.get("traceparent")
    if parent is not None:
        own = spans.enter_context(
            tracing.span(f"publish {job.queue}", _fields(job), kind=tracing.Kind.PRODUCER, parent=parent)
        )
        message = {**message, "traceparent": own or parent}
    return encode_message(job.id, job.task, job.queue, message, job.attempts_since_replay)


def _fields(job: DueJob) -> dict[str, str]:
    passed_on = {name: str(job.message[name]) for name in _LOG_FIELDS if name in job.message}
    return {"job_id": str(job.id), "task": job.task, "queue": job.queue, **passed_on}
