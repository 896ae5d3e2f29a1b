"""The worker application with an additional task that fails as its message requests.

It is also an example of a second task: a message, a function and an effect. The tests start workers with
`celery -A tests.support.misbehaving_app worker`.
"""

import ctypes
import os
import signal
import sys
import time
from functools import cache

import httpx
from sqlalchemy import Connection, text

from app.ledger.errors import PermanentError, ProviderError, SkipJob, TransientError
from app.ledger.store import Effect
from app.ledger.task import LedgerTask
from contracts.messages import Message
from tests.support.controllable_app import app as app  # noqa: PLC0414 - for applications that change it
from tests.support.tasks import PROVIDER_TASK, TASK


class Misbehave(Message):
    """The behaviour on attempts before `until`, and the duration of each attempt."""

    how: str = "work"
    until: int = 10**9
    seconds: float = 0


class Unpicklable(Exception):
    def __reduce__(self):
        raise TypeError("cannot be pickled")


def _misbehave(how: str) -> None:  # noqa: C901 - a list of failures
    match how:
        case "transient":
            raise ConnectionError("the provider is down")
        case "permanent":
            raise PermanentError("the provider rejects this text")
        case "bug":
            raise ZeroDivisionError("unexpected input")
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


class CallProvider(Message):
    """The address of the provider."""

    url: str


@cache
def _client() -> httpx.Client:
    """Return the client of this process. Creating a client reads all certificate authorities of the machine."""
    return httpx.Client(timeout=60)


@app.task(name=PROVIDER_TASK, base=LedgerTask, bind=True, provider="scripted")
def call_provider(self: LedgerTask, message: CallProvider) -> Effect:
    """Call a real HTTP server, as an enricher does."""
    try:
        response = _client().get(message.url)
    except httpx.TransportError as error:
        raise ProviderError(f"no answer: {error}") from error
    if response.status_code == 429:
        raise TransientError("too many requests", float(response.headers["retry-after"]))
    if response.is_server_error:
        raise ProviderError(f"status {response.status_code}")
    if response.is_client_error:
        raise PermanentError(f"status {response.status_code}")

    def write(connection: Connection) -> None:
        connection.execute(
            text("INSERT INTO effect (job_id, attempt) VALUES (:job_id, :attempt)"),
            {"job_id": message.job_id, "attempt": self.claim.attempt_number},
        )

    return write
