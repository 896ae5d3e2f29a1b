"""The worker application of paused_app with one more task, which waits for the same latch."""

from app.ledger.store import Effect
from app.ledger.task import LedgerTask
from contracts.messages import Message
from tests.support.paused_app import app, wait_for_release
from tests.support.tasks import HELD_TASK

__all__ = ["app"]


@app.task(name=HELD_TASK, base=LedgerTask)
def hold(message: Message) -> Effect:
    del message
    wait_for_release()
    return lambda _connection: None
