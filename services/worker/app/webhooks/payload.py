"""Builds the payload of a delivery at the time of sending, so that a late retry contains the current state."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.ledger.errors import SkipJob
from contracts.states import WEBHOOK_TEST, WebhookEvent
from contracts.tables import Erasure, Issue, WebhookDelivery

ISSUE_FIELDS = (
    *("id", "project", "title", "description", "priority", "status", "duplicate_of", "ai_summary"),
    *("tags_confirmed_at", "created_at", "updated_at"),
)
"""The fields of an issue in the payload, with the same names as in the API."""


def build_payload(session: Session, delivery: WebhookDelivery) -> bytes:
    """Return the body of the delivery; raise SkipJob if the event is obsolete."""
    event = {"type": delivery.event, "timestamp": delivery.created_at, "data": _data(session, delivery)}
    return json.dumps(event, default=_text, ensure_ascii=False, separators=(",", ":")).encode()


def _data(session: Session, delivery: WebhookDelivery) -> dict[str, Any]:
    if delivery.event == WEBHOOK_TEST:
        return {"webhook_id": delivery.webhook_id}
    issue = session.scalar(select(Issue).where(Issue.id == delivery.issue_id))
    if issue is None:
        return _erased(session, delivery)
    if delivery.event == WebhookEvent.ISSUE_DELETED:
        return {name: getattr(issue, name) for name in ("id", "project", "deleted_at")} | _external(issue)
    if issue.deleted_at is not None:
        raise SkipJob("the issue was deleted, which is a separate event")
    return {name: getattr(issue, name) for name in ISSUE_FIELDS} | _external(issue) | {"tags": issue.tag_list}


def _erased(session: Session, delivery: WebhookDelivery) -> dict[str, Any]:
    """Return the deletion of an issue that was erased, so that receivers can delete their copies."""
    tombstone = session.get(Erasure, delivery.issue_id)
    if tombstone is None or delivery.event != WebhookEvent.ISSUE_DELETED:
        raise SkipJob("the issue does not exist")
    deletion = {"id": tombstone.id, "project": tombstone.project, "deleted_at": tombstone.requested_at}
    return {**deletion, "external": None}


def _external(issue: Issue) -> dict[str, Any]:
    if issue.external_source is None:
        return {"external": None}
    return {"external": {"source": issue.external_source, "id": issue.external_id, "url": issue.external_url}}


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    assert isinstance(value, UUID)
    return str(value)
