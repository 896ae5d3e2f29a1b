"""Reads and writes webhooks and deliveries for the worker."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.orm import Session

from contracts.ids import new_id
from contracts.ledger.decisions import POSTPONE_DELIVERIES
from contracts.tables import AuditEntry, Webhook, WebhookDelivery

POSTPONED_MAX = 10_000
"""Maximum deliveries that are postponed at a time. When a worker receives one of the rest, it postpones more."""


def find(session: Session, job_id: UUID) -> tuple[WebhookDelivery, Webhook] | None:
    """Return a delivery with its webhook, or None if one of them does not exist."""
    both = (
        select(WebhookDelivery, Webhook)
        .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
        .where(WebhookDelivery.job_id == job_id)
    )
    row = session.execute(both).one_or_none()
    return None if row is None else (row[0], row[1])


def store_status(connection: Connection, job_id: UUID, status: int) -> None:
    """Store the HTTP status of the receiver's response."""
    connection.execute(update(WebhookDelivery).where(WebhookDelivery.job_id == job_id).values(status_code=status))


def deactivate(session: Session, webhook: Webhook, reason: str, actor: str) -> None:
    """Deactivate the webhook until a person activates it again, unless its URL was changed in the meantime."""
    changed = (
        update(Webhook)
        .where(Webhook.id == webhook.id, Webhook.url == webhook.url, Webhook.active)
        .values(active=False, deactivated_reason=reason, updated_at=func.now())
        .returning(Webhook.id)
    )
    if session.scalar(changed) is None:
        return
    session.execute(
        insert(AuditEntry).values(
            id=new_id(),
            actor=actor,
            action="webhook.deactivated",
            subject=str(webhook.id),
            detail={"reason": reason},
        )
    )


def postpone_deliveries(connection: Connection, webhook_id: UUID, until: datetime) -> bool:
    """Postpone the due deliveries to the same receiver, so that workers do not receive them one by one.

    Return whether all were postponed: at most `POSTPONED_MAX` are postponed at a time.
    """
    moved = connection.execute(
        POSTPONE_DELIVERIES.expression, {"webhook_id": webhook_id, "until": until, "limit": POSTPONED_MAX}
    )
    return moved.rowcount < POSTPONED_MAX
