"""Which errors are worth another attempt."""

from celery.exceptions import SoftTimeLimitExceeded
from pydantic import ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError

from contracts.states import FailureKind


class TransientError(Exception):
    """Something outside is down or slow; `retry_after_s` is how long it asked to be left alone."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ProviderError(TransientError):
    """The provider that the task depends on is down; enough of these in a row open its circuit."""


class PermanentError(Exception):
    """The job can never succeed, however often it is tried."""


class SkipJob(Exception):
    """There is nothing left to do for the job; it ends without an effect and without a failure."""


class JobDead(Exception):
    """Shows a dead job's error in Flower.

    The error itself stays in the ledger: not every exception can be pickled, and a MemoryError that
    reaches Celery ends the whole worker.
    """


_TRANSIENT = (TransientError, OSError, SoftTimeLimitExceeded, OperationalError, InterfaceError)
_PERMANENT = (PermanentError, ValidationError)


def classify_error(error: Exception) -> FailureKind:
    """Class an error; what nobody foresaw is a bug, which is tried again and then kept for a person."""
    if isinstance(error, _TRANSIENT):
        return FailureKind.TRANSIENT
    if isinstance(error, _PERMANENT):
        return FailureKind.PERMANENT
    return FailureKind.BUG


def describe(error: BaseException) -> str:
    """Return an error's class and message in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
