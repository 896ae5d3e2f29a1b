"""The ledger and the circuit breakers of this worker."""

from datetime import timedelta
from functools import cache

from app.database.config import SyncSessionLocal, engine
from app.ledger.circuit import Circuits
from app.ledger.heartbeat import Heartbeat
from app.ledger.store import Ledger
from app.settings import settings

circuits = Circuits(SyncSessionLocal)


@cache
def get_ledger(node: str, pid: int) -> Ledger:
    """Return the ledger for one process of a worker. The process is the holder of leases."""
    worker = f"{node}/{pid}"
    return Ledger(engine, worker, timedelta(seconds=settings.lease_seconds), settings.retry_delays)


@cache
def get_heartbeat(ledger: Ledger) -> Heartbeat:
    """Return this process's heartbeat. It starts with the first job, because threads do not survive a fork."""
    return Heartbeat(ledger, settings.lease_seconds / 3)
