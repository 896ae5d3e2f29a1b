"""The worker's application and one more task, which does what its message says.

It also shows what a second task has to write: a message, a function, an effect. Workers of the tests
start it with `celery -A tests.support.misbehaving_app worker`.
"""

import ctypes
import os
import signal
import sys
import time
from functools import cache

import httpx
from sqlalchemy import Connection, text

from app.celery_app import app as app  # noqa: PLC0414 - for applications that change it
from app.ledger.errors import PermanentError, ProviderError, SkipJob, TransientError
from app.ledger.store import Effect
from app.ledger.task import LedgerTask
from contracts.messages import Message
from tests.support.tasks import PROVIDER_TASK, TASK


class Misbehave(Message):
    """What to do on the attempts before `until`, and how long it takes."""

    how: str = "work"
    until: int = 10**9
    seconds: float = 0


class Unpicklable(Exception):
    def __reduce__(self):
        raise TypeError("not to be pickled")


def _misbehave(how: str) -> None:  # noqa: C901 - a list of ways
    match how:
        case "transient":
            raise ConnectionError("the provider is away")
        case "permanent":
            raise PermanentError("the provider refuses this text")
        case "bug":
            raise ZeroDivisionError("nobody foresaw this")
        case "skip":
            raise SkipJob("nothing to do")
        case "stubborn":
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
            time.sleep(60)
        case "memory":
            raise MemoryError
        case "unpicklable":
            raise Unpicklable
        case "sysexit":
            sys.exit(3)
        case "exit":
            os._exit(9)
        case "segfault":
            ctypes.string_at(0)
        case "work":
            return
        case _:
            raise AssertionError(how)


@app.task(name=TASK, base=LedgerTask, bind=True)
def misbehave(self: LedgerTask, message: Misbehave) -> Effect:
    deadline = time.monotonic() + message.seconds
    while time.monotonic() < deadline:
        time.sleep(0.05)
    if self.claim.attempt_number < message.until:
        _misbehave(message.how)

    def write(connection: Connection) -> None:
        connection.execute(
            text("INSERT INTO effect (job_id, attempt) VALUES (:job_id, :attempt)"),
            {"job_id": message.job_id, "attempt": self.claim.attempt_number},
        )

    return write


class AskProvider(Message):
    """Which address to ask."""

    url: str


@cache
def _client() -> httpx.Client:
    """Return this process's client: making one reads all the machine's certificate authorities."""
    return httpx.Client(timeout=5)


@app.task(name=PROVIDER_TASK, base=LedgerTask, bind=True, provider="scripted")
def ask_provider(self: LedgerTask, message: AskProvider) -> Effect:
    """Depend on a real HTTP server, as an enricher does."""
    try:
        answer = _client().get(message.url)
    except httpx.TransportError as error:
        raise ProviderError(f"no answer: {error}") from error
    if answer.status_code == 429:
        raise TransientError("too many requests", float(answer.headers["retry-after"]))
    if answer.is_server_error:
        raise ProviderError(f"status {answer.status_code}")
    if answer.is_client_error:
        raise PermanentError(f"status {answer.status_code}")

    def write(connection: Connection) -> None:
        connection.execute(
            text("INSERT INTO effect (job_id, attempt) VALUES (:job_id, :attempt)"),
            {"job_id": message.job_id, "attempt": self.claim.attempt_number},
        )

    return write
