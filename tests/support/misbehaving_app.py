"""The worker's application and one more task, which does what its message says.

It also shows what a second task has to write: a message, a function, an effect. Workers of the tests
start it with `celery -A tests.support.misbehaving_app worker`.
"""

import ctypes
import os
import time

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.celery_app import app
from app.ledger.errors import PermanentError, Skip
from app.ledger.store import Effect
from app.ledger.task import LedgerTask
from contracts.messages import Message

TASK = "tests.misbehave"


class Misbehave(Message):
    """What to do on the attempts before `until`, and how long it takes."""

    how: str = "work"
    until: int = 10**9
    seconds: float = 0


def _misbehave(how: str) -> None:
    match how:
        case "transient":
            raise ConnectionError("the provider is away")
        case "permanent":
            raise PermanentError("the provider refuses this text")
        case "bug":
            raise ZeroDivisionError("nobody foresaw this")
        case "skip":
            raise Skip("nothing to do")
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
    time.sleep(message.seconds)
    if self.claim.attempt < message.until:
        _misbehave(message.how)

    def write(session: Session) -> None:
        session.execute(
            text("INSERT INTO effect (job_id, attempt) VALUES (:job_id, :attempt)"),
            {"job_id": message.job_id, "attempt": self.claim.attempt},
        )

    return write
