"""Exceptions as they may be logged: where they happened, and their message only where it can hold no data.

The message of an exception may quote what a person wrote: an issue's title in `Failing row contains (...)`, a
value in a validation error, a key that a server sends back. The ledger keeps it for whoever may read the issue
itself; a log is read by many more. So a log line has the message of an exception only where its class is known
to speak of servers and connections and of nothing else.
"""

from collections.abc import Iterator
from itertools import islice

FRAMES_MAX = 20
CHAIN_MAX = 5

_allowed: set[type[BaseException]] = {OSError, ImportError, KeyboardInterrupt, SystemExit}


def allow_message_in_logs(*classes: type[BaseException]) -> None:
    """Let the messages of these exceptions, and of their subclasses, be logged: no data can be in them."""
    _allowed.update(classes)


def safe_message(error: BaseException) -> str:
    """Return an exception in one line: its class, and its message where that can hold no data."""
    name = type(error).__name__
    if not isinstance(error, tuple(_allowed)):
        return name
    return " ".join(f"{name}: {error}".split()).removesuffix(":")


def safe_traceback(error: BaseException) -> str:
    """Return an exception with where it was raised and its causes, without any local variable."""
    return "\ncaused by ".join("\n  ".join([safe_message(cause), *_frames(cause)]) for cause in _chain(error))


def _frames(error: BaseException) -> list[str]:
    """Return the innermost frames. By hand, since Celery sends stand-ins for tracebacks between its processes."""
    frames = []
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        frames.append(f"{code.co_filename}:{step.tb_lineno} in {code.co_name}")
        step = step.tb_next
    return frames[-FRAMES_MAX:]


def _chain(error: BaseException) -> Iterator[BaseException]:
    def causes() -> Iterator[BaseException]:
        current: BaseException | None = error
        while current is not None:
            yield current
            current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)

    return islice(causes(), CHAIN_MAX)
