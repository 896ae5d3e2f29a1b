"""Stores messages that a worker cannot run: in the list of rejected messages, or else in the database."""

import json
import socket
from hashlib import sha256

import structlog
from redis import Redis, RedisError
from sqlalchemy.dialects.postgresql import insert

from app.database.config import SyncSessionLocal
from app.metrics import broker as metrics
from contracts import CONTRACT_VERSION
from contracts.ids import new_id
from contracts.messages import Message, RejectedMessage
from contracts.names import REJECTED_MESSAGES_KEY
from contracts.states import RejectionReason
from contracts.tables import DeadMessage

logger = structlog.get_logger(__name__)


def reject(rejected: RejectedMessage, client: Redis, request_id: str | None = None) -> None:
    """Move a message, which was already removed from its queue, to the list on which the dispatcher decides.

    If Redis rejects it, for example because its memory is full, store it as a dead message immediately.
    """
    metrics.REJECTED.labels(rejected.reason).inc()
    logger.error(
        "message_rejected",
        queue=rejected.queue,
        reason=rejected.reason.value,
        job_id=str(rejected.job_id),
        request_id=request_id,
    )
    try:
        client.rpush(REJECTED_MESSAGES_KEY, rejected.model_dump_json())
    except RedisError:
        store_dead_message(rejected)


def store_dead_message(rejected: RejectedMessage) -> None:
    """Store a message as a dead message in the database. Storing it twice has no effect."""
    row = insert(DeadMessage).values(
        id=new_id(),
        digest=sha256(rejected.raw).digest(),
        queue=rejected.queue,
        reason=rejected.reason.value,
        error=f"{rejected.reason}: {rejected.error}".replace("\x00", ""),
        worker=rejected.worker,
        raw=rejected.raw,
    )
    with SyncSessionLocal.begin() as session:
        session.execute(row.on_conflict_do_nothing(index_elements=[DeadMessage.digest]))


def store_without_job(task: str, message: Message, queue: str) -> None:
    """Store an orphan message as a dead message: without a job in the ledger its result could not be recorded."""
    metrics.REJECTED.labels(RejectionReason.UNKNOWN_JOB).inc()
    raw = {"headers": {"task": task, "id": str(message.job_id)}, "message": message.as_json()}
    store_dead_message(
        RejectedMessage(
            contract_version=CONTRACT_VERSION,
            queue=queue,
            reason=RejectionReason.UNKNOWN_JOB,
            error="its job is not in the ledger",
            worker=socket.gethostname(),
            job_id=message.job_id,
            raw=json.dumps(raw).encode(),
        )
    )
