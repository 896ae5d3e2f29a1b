"""Classifies errors: which are retried, and which are not."""

from celery.exceptions import SoftTimeLimitExceeded
from pydantic import ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError

from contracts.states import FailureKind


class TransientError(Exception):
    """An external service is down or slow. `retry_after_s` is the delay that it requested."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ProviderError(TransientError):
    """The provider of the task is down. Several of these errors in a row open the circuit breaker."""


class PermanentError(Exception):
    """The job can never succeed and is not retried."""


class SkipJob(Exception):
    """The job has nothing to do. It ends without an effect and without a failure."""


class JobDead(Exception):
    """Shows the error of a dead job in Flower.

    The original exception is not raised to Celery: not every exception can be pickled, and a MemoryError that
    reaches Celery ends the worker.
    """


_TRANSIENT = (TransientError, OSError, SoftTimeLimitExceeded, OperationalError, InterfaceError)
_PERMANENT = (PermanentError, ValidationError)


def classify_error(error: Exception) -> FailureKind:
    """Return the kind of an error. Unexpected errors are bugs, which are retried and then become dead letters."""
    if isinstance(error, _TRANSIENT):
        return FailureKind.TRANSIENT
    if isinstance(error, _PERMANENT):
        return FailureKind.PERMANENT
    return FailureKind.BUG


def describe(error: BaseException) -> str:
    """Return the class and message of an error on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
