"""Where messages go that a worker cannot run: the list of refused ones, or else the database itself."""

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
from contracts.messages import Message, RefusedMessage
from contracts.names import REFUSED_LIST
from contracts.states import RefusalReason
from contracts.tables import DeadMessage

logger = structlog.get_logger(__name__)


def leave(refused: RefusedMessage, client: Redis, request_id: str | None = None) -> None:
    """Leave a message, which is in no queue any more, for the dispatcher to decide on.

    A Redis that is full refuses it; then it is kept as a dead message at once.
    """
    metrics.REFUSED.labels(refused.reason).inc()
    logger.error(
        "message_refused",
        queue=refused.queue,
        reason=refused.reason.value,
        job_id=str(refused.job_id),
        request_id=request_id,
    )
    try:
        client.rpush(REFUSED_LIST, refused.model_dump_json())
    except RedisError:
        keep(refused)


def keep(refused: RefusedMessage) -> None:
    """Keep a message as a dead one in the database, once."""
    row = insert(DeadMessage).values(
        id=new_id(),
        digest=sha256(refused.raw).digest(),
        queue=refused.queue,
        reason=refused.reason.value,
        error=f"{refused.reason}: {refused.error}".replace("\x00", ""),
        worker=refused.worker,
        raw=refused.raw,
    )
    with SyncSessionLocal.begin() as session:
        session.execute(row.on_conflict_do_nothing(index_elements=[DeadMessage.digest]))


def store_without_job(task: str, message: Message, queue: str) -> None:
    """Keep a message that could be run, but whose job is not in the ledger: nobody would know its result."""
    metrics.REFUSED.labels(RefusalReason.UNKNOWN_JOB).inc()
    raw = {"headers": {"task": task, "id": str(message.job_id)}, "message": message.as_json()}
    keep(
        RefusedMessage(
            contract_version=CONTRACT_VERSION,
            queue=queue,
            reason=RefusalReason.UNKNOWN_JOB,
            error="its job is not in the ledger",
            worker=socket.gethostname(),
            job_id=message.job_id,
            raw=json.dumps(raw).encode(),
        )
    )
