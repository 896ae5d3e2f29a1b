"""Checks whether a worker can run a message.

Some malformed messages make Celery's worker exit, and are then redelivered to the next worker. Celery logs and
drops others. This check rejects both kinds before Celery receives them.
"""

import json
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from kombu.utils.json import loads
from pydantic import ValidationError

from app.metrics import broker as metrics
from contracts.limits import MESSAGE_MAX, REQUEST_ID_PATTERN
from contracts.messages import Message, is_newer
from contracts.states import RejectionReason
from contracts.validation import describe_errors


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why this worker cannot run a message, and the message's job if it has one."""

    reason: RejectionReason
    error: str
    job_id: UUID | None = None
    request_id: str | None = None
    """The id of the request that caused the message, if it can be read."""


def check(raw: bytes, messages: Mapping[str, type[Message]]) -> Rejection | None:
    """Return why a worker with these tasks cannot run the message, or None if it can."""
    if len(raw) > MESSAGE_MAX:
        return Rejection(
            RejectionReason.OVERSIZED,
            f"the message has {len(raw)} bytes, but the limit is {MESSAGE_MAX}",
            _parse_job_id(raw),
        )
    try:
        task, job_id, arguments, fields = _parse(raw)
    except Exception as error:  # noqa: BLE001 - any exception means that the message cannot be read
        return Rejection(RejectionReason.UNDECODABLE, f"{type(error).__name__}: {error}", _parse_job_id(raw))
    version = fields.get("contract_version")
    metrics.record_received(version)
    if task not in messages:
        return Rejection(
            RejectionReason.UNKNOWN_TASK, f'this worker has no task "{task}"', job_id, _read_request_id(fields)
        )
    if isinstance(version, str) and is_newer(version):
        return Rejection(
            RejectionReason.NEWER_CONTRACT,
            f"contract version {version} is newer than this worker's",
            job_id,
            _read_request_id(fields),
        )
    fault = _find_fault(messages[task], job_id, arguments, fields)
    return (
        None
        if fault is None
        else Rejection(RejectionReason.INVALID_ARGUMENTS, fault, job_id, _read_request_id(fields))
    )


def _find_fault(
    message_type: type[Message], job_id: UUID, arguments: list[Any], fields: dict[str, Any]
) -> str | None:
    if arguments:
        return "a task accepts only named arguments"
    try:
        message = message_type.model_validate(fields)
    except ValidationError as error:
        return describe_errors(error.errors(include_url=False))
    if message.job_id != job_id:
        return f"job_id is {message.job_id}, but the task id is {job_id}"
    return None


def _parse(raw: bytes) -> tuple[str, UUID, list[Any], dict[str, Any]]:
    """Return task, job id, positional and named arguments; raise an exception if the envelope is not valid.

    This parses the message in the same way as kombu and Celery, so that no message passes that they cannot parse.
    """
    envelope = loads(raw.decode())
    headers, properties = envelope["headers"], envelope["properties"]
    if properties["body_encoding"] != "base64" or envelope["content-encoding"] != "utf-8":
        raise ValueError("the body is not base64-encoded UTF-8")
    if envelope["content-type"] != "application/json":
        raise ValueError(f"the content type is {envelope['content-type']!r} instead of 'application/json'")
    delivery = properties["delivery_info"]
    _require_text(properties["delivery_tag"], delivery["exchange"], delivery["routing_key"], headers["task"])
    if any(headers.get(name) is not None for name in ("eta", "expires", "chord", "group")):
        raise ValueError("eta, expires, chord and group are not allowed, because the ledger has the schedule")
    if headers.get("timelimit") not in (None, [None, None]):
        raise ValueError("timelimit is not allowed in a message")
    arguments, fields, embedded = loads(b64decode(envelope["body"], validate=True).decode())
    if not (isinstance(arguments, list) and isinstance(fields, dict) and isinstance(embedded, dict)):
        raise TypeError("the body is not [arguments, named arguments, options]")
    return headers["task"], UUID(headers["id"]), arguments, fields


def _read_request_id(fields: dict[str, Any]) -> str | None:
    found = fields.get("request_id")
    return found if isinstance(found, str) and re.fullmatch(REQUEST_ID_PATTERN, found) else None


def _require_text(*values: Any) -> None:
    if not all(isinstance(value, str) for value in values):
        raise TypeError("a name in the envelope is not a string")


def _parse_job_id(raw: bytes) -> UUID | None:
    try:
        return UUID(json.loads(raw)["headers"]["id"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
