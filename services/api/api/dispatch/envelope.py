"""A Celery message as kombu's Redis transport writes it (task protocol 2, virtual transport).

Celery's own publisher costs 0.65 to 1.2 ms of CPU a message and blocks for seconds when Redis is away,
so the dispatcher writes the bytes itself. `tests/integration/test_envelope.py` publishes the same job
through Celery and compares. Source: docs.celeryq.dev, "Message Protocol", version 2.
"""

import json
import os
import socket
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

ORIGIN = f"dispatcher{os.getpid()}@{socket.gethostname()}"

_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def celery_message(job_id: UUID, task: str, queue: str, message: Mapping[str, Any], retries: int) -> bytes:
    """Return the bytes to push to the queue's list, with the job's id as the Celery task id.

    `retries` is what Flower shows as such; the ledger's count is the truth.
    """
    task_id = str(job_id)
    body = json.dumps([[], message, _EMBED]).encode()
    return json.dumps(
        {
            "body": b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": task,
                "id": task_id,
                "shadow": None,
                "eta": None,
                "expires": None,
                "group": None,
                "group_index": None,
                "retries": retries,
                "timelimit": [None, None],
                "root_id": task_id,
                "parent_id": None,
                "argsrepr": "()",
                "kwargsrepr": repr(message),
                "origin": ORIGIN,
                "ignore_result": False,
                "replaced_task_nesting": 0,
                "stamped_headers": None,
                "stamps": {},
            },
            "properties": {
                "correlation_id": task_id,
                # Nobody waits for a reply; the backend keys results by the task id.
                "reply_to": "",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid4()),
            },
        }
    ).encode()


def job_id_of(raw: bytes | str) -> str | None:
    """Return the Celery task id in a message that lies in a queue, None when it is no such message."""
    try:
        task_id = json.loads(raw)["headers"]["id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return task_id if isinstance(task_id, str) else None


@dataclass(frozen=True, slots=True)
class NamedJob:
    """The job that a message names."""

    job_id: UUID
    task: str
    message: dict[str, Any]


def parse_named_job(raw: bytes) -> NamedJob | None:
    """Return the job that a dead message names, None where it names none; its message may still be invalid.

    It is an envelope as above, or what a worker keeps of a message without a job: `headers` and `message`.
    """
    try:
        envelope = json.loads(raw)
        headers = envelope["headers"]
        message = envelope["message"] if "message" in envelope else json.loads(b64decode(envelope["body"]))[1]
        job_id, task = UUID(headers["id"]), headers["task"]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return None
    if not (isinstance(task, str) and isinstance(message, dict)) or "\\u0000" in json.dumps([task, message]):
        return None
    return NamedJob(job_id, task, message)
