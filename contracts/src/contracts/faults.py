"""Formats exceptions for logs, without user data.

The message of an exception may quote user data: an issue's title in `Failing row contains (...)`, a value in a
validation error, a key that a server returns. The ledger stores such messages, because only people who may read
the issue can read them. Logs have more readers. A log line therefore contains the message of an exception only
if its class is known to describe servers and connections.
"""

from collections.abc import Iterator
from itertools import islice

FRAMES_MAX = 20
CHAIN_MAX = 5

_allowed: set[type[BaseException]] = {OSError, ImportError, KeyboardInterrupt, SystemExit}


def allow_message_in_logs(*classes: type[BaseException]) -> None:
    """Allow the messages of these exceptions and their subclasses in logs, because they contain no user data."""
    _allowed.update(classes)


def safe_message(error: BaseException) -> str:
    """Return an exception as one line: its class, and its message if that cannot contain user data."""
    name = type(error).__name__
    if not isinstance(error, tuple(_allowed)):
        return name
    return " ".join(f"{name}: {error}".split()).removesuffix(":")


def safe_traceback(error: BaseException) -> str:
    """Return an exception, its stack frames and its causes, without local variables."""
    return "\ncaused by ".join("\n  ".join([safe_message(cause), *_frames(cause)]) for cause in _chain(error))


def _frames(error: BaseException) -> list[str]:
    """Return the innermost frames.

    The `traceback` module does not accept the stand-ins for tracebacks that Celery sends between its processes.
    """
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
