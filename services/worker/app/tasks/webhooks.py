"""Delivers events to webhooks: one job per delivery, and one circuit breaker per webhook."""

import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import ClassVar
from uuid import UUID

from app.celery_app import app
from app.database.config import SyncSessionLocal, engine
from app.ledger.errors import PermanentError, ProviderError, SkipJob, TransientError
from app.ledger.store import Effect
from app.ledger.task import LedgerTask
from app.settings import settings
from app.webhooks import signature, store
from app.webhooks.client import raise_for_status, send
from app.webhooks.payload import build_payload
from contracts.messages import DeliverWebhook, Message
from contracts.names import Task
from contracts.states import WEBHOOK_TEST
from contracts.tables import Webhook
from contracts.webhook_secrets import UnreadableSecret

GONE = 410
"""The status with which a receiver unsubscribes permanently."""


class DeliveryTask(LedgerTask):
    """Isolates receivers: one that is down delays only its own deliveries."""

    abstract = True
    provider = "webhook"
    _postponed_until: ClassVar[dict[UUID, datetime]] = {}
    """The time until which this process postponed all deliveries to a webhook. New ones are scheduled for then."""

    def circuit_key(self, message: Message) -> str:
        """Return the key of the circuit breaker of the message's webhook."""
        assert isinstance(message, DeliverWebhook)
        return f"webhook:{message.webhook_id}"

    def on_circuit_open(self, message: Message, until: datetime) -> None:
        """Postpone the other deliveries to the same receiver, unless this was already done for this pause."""
        assert isinstance(message, DeliverWebhook)
        if self._postponed_until.get(message.webhook_id) == until:
            return
        with engine.begin() as connection:
            is_all = store.postpone_deliveries(connection, message.webhook_id, until)
        if is_all:
            self._postponed_until[message.webhook_id] = until


@app.task(name=Task.DELIVER_WEBHOOK.value, base=DeliveryTask, bind=True)
def deliver(self: DeliveryTask, message: DeliverWebhook) -> Effect:
    """Send the signed event, at least once. The job's id is the delivery's id in each attempt."""
    with SyncSessionLocal() as session:
        found = store.find(session, message.job_id)
        if found is None:
            raise SkipJob("the webhook does not exist")
        delivery, webhook = found
        if not webhook.active and delivery.event != WEBHOOK_TEST:
            raise SkipJob("the webhook is not active")
        body = build_payload(session, delivery)
    headers = signature.build_headers(str(message.job_id), int(time.time()), body, _secrets(webhook))
    status, retry_after = send(webhook.url, headers, body)
    try:
        raise_for_status(status, retry_after)
    except (PermanentError, ProviderError):
        with SyncSessionLocal.begin() as session:
            # Lock the webhook first, in the same order as its deletion does.
            if status == GONE:
                store.deactivate(
                    session, webhook, "the receiver returned 410 Gone", self.request.hostname or "worker"
                )
            store.store_status(session.connection(), message.job_id, status)
        raise
    return lambda connection: store.store_status(connection, message.job_id, status)


def _secrets(webhook: Webhook) -> list[str]:
    until = webhook.previous_secret_until
    try:
        secrets = [settings.webhook_secrets.decrypt(webhook.secret)]
    except UnreadableSecret as error:
        raise TransientError(str(error)) from None
    if webhook.previous_secret is not None and until is not None and until > datetime.now(UTC):
        # It may have been rotated because no key decrypts it.
        with suppress(UnreadableSecret):
            secrets.append(settings.webhook_secrets.decrypt(webhook.previous_secret))
    return secrets
