"""Which errors are worth another attempt."""

from celery.exceptions import SoftTimeLimitExceeded
from pydantic import ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError

from contracts.states import FailureKind


class PermanentError(Exception):
    """The job can never succeed, however often it is tried."""


class Skip(Exception):
    """There is nothing left to do for the job; it ends without an effect and without a failure."""


_TRANSIENT = (OSError, SoftTimeLimitExceeded, OperationalError, InterfaceError)
_PERMANENT = (PermanentError, ValidationError)


def kind_of(error: Exception) -> FailureKind:
    """Class an error; what nobody foresaw is a bug, which is tried again and then kept for a person."""
    if isinstance(error, _TRANSIENT):
        return FailureKind.TRANSIENT
    if isinstance(error, _PERMANENT):
        return FailureKind.PERMANENT
    return FailureKind.BUG
