"""The worker application with an enricher whose errors quote the text of the issue.

The first word of the description selects the failure. The tests start it with
`celery -A tests.support.sensitive_errors_app worker`.
"""

import logging
import warnings

from pydantic import BaseModel
from sqlalchemy import text

from app.celery_app import app as app  # noqa: PLC0414 - the application that the command line names
from app.database.config import SyncSessionLocal
from app.enrichment import selection
from app.enrichment.interface import Enricher, Enrichment, IssueText
from app.ledger.errors import PermanentError, TransientError


class _Strict(BaseModel):
    title: int


def bug(issue: IssueText) -> None:
    raise ValueError(f"cannot enrich {issue.title!r}: {issue.description}")


def chain(issue: IssueText) -> None:
    try:
        bug(issue)
    except ValueError as error:
        raise RuntimeError(issue.description) from error


def transient(issue: IssueText) -> None:
    raise TransientError(issue.title)


def permanent(issue: IssueText) -> None:
    raise PermanentError(issue.description)


def validation(issue: IssueText) -> None:
    _Strict.model_validate({"title": issue.title})


def unique(issue: IssueText) -> None:
    with SyncSessionLocal.begin() as session:
        session.execute(text("CREATE TEMP TABLE leak (title text PRIMARY KEY) ON COMMIT DROP"))
        session.execute(text("INSERT INTO leak VALUES (:title), (:title)"), {"title": issue.title})


def data(issue: IssueText) -> None:
    with SyncSessionLocal.begin() as session:
        session.execute(text("SELECT CAST(:title AS integer)"), {"title": issue.title})


def library(issue: IssueText) -> None:
    """Log exceptions, a credential and payloads, as libraries do."""
    logger = logging.getLogger("some.library")
    try:
        bug(issue)
    except ValueError as error:
        logger.exception("it failed: %s", error)  # noqa: TRY401
        logger.warning("again: %r", error)
        logger.error(error)  # noqa: TRY400
    logger.warning("cannot connect to redis://user:%s@127.0.0.1:6379/0", issue.description.split()[1])
    logging.getLogger("openai._base_client").debug("Request options: %s", issue.title)
    logging.getLogger("httpcore2.http11").debug("send_request_headers %s", issue.description)
    logging.getLogger("sqlalchemy.engine.Engine").debug("Row %r", (issue.title,))
    warnings.warn("a warning of a library", stacklevel=1)


FAILURES = {
    failure.__name__: failure for failure in (bug, chain, transient, permanent, validation, unique, data, library)
}


class SensitiveErrorEnricher:
    """Causes the failure that the first word of the description names, or calls the real enricher."""

    def __init__(self, real: Enricher) -> None:
        self._real = real

    def enrich(self, issue: IssueText) -> Enrichment:
        failure = FAILURES.get(issue.description.split()[0])
        if failure is not None:
            failure(issue)
        return self._real.enrich(issue)


selection.enricher = SensitiveErrorEnricher(selection.enricher)
