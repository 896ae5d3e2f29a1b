"""Webhooks and their deliveries in the database. Triggers create all deliveries except tests."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg

from api.access.principal import current_principal
from api.database import Database
from api.dispatch.pruning import prune_now
from api.request_log import request_id
from api.webhooks.schemas import Delivery, EncryptedSecrets, Webhook, WebhookCreate
from contracts import CONTRACT_VERSION, tracing
from contracts.ids import new_id
from contracts.ledger.classes import PriorityClass
from contracts.ledger.enqueue import insert_jobs
from contracts.ledger.states import ERROR, NEXT_ATTEMPT_AT
from contracts.messages import DeliverWebhook
from contracts.names import QUEUE_OF, Task
from contracts.states import WEBHOOK_TEST
from contracts.webhook_secrets import PREFIX, UnreadableSecret, WebhookSecrets

_COLUMNS = """
webhook.id, url, events, active, deactivated_reason, created_at, created_by, updated_at,
CASE WHEN previous_secret_until > now() THEN previous_secret_until END AS previous_secret_until,
(SELECT open_until FROM circuit WHERE task = 'webhook:' || webhook.id AND open_until > now()) AS paused_until
"""
_CREATE = f"""
INSERT INTO webhook (id, url, events, active, secret, created_by) VALUES ($1, $2, $3, $4, $5, $6)
RETURNING {_COLUMNS}
"""
_PAGE = f"SELECT {_COLUMNS} FROM webhook WHERE id < $1 ORDER BY id DESC LIMIT $2"
_GET = f"SELECT {_COLUMNS} FROM webhook WHERE id = $1"
_LOCK = "SELECT FROM webhook WHERE id = $1 FOR NO KEY UPDATE"
_ROTATE = f"""
UPDATE webhook SET secret = $2, previous_secret = CASE WHEN $3 > 0 THEN secret END,
    previous_secret_until = CASE WHEN $3 > 0 THEN now() + make_interval(hours => $3) END, updated_at = now()
WHERE id = $1
RETURNING {_COLUMNS}
"""
_LOCK_SECRETS = "SELECT id, secret, previous_secret FROM webhook ORDER BY id FOR NO KEY UPDATE"
_STORE_SECRETS = "UPDATE webhook SET secret = $2, previous_secret = $3 WHERE id = $1"
_COUNT_CLEAR = f"SELECT count(*) FROM webhook WHERE secret LIKE '{PREFIX}%' OR previous_secret LIKE '{PREFIX}%'"
_CLOSE_CIRCUIT = "DELETE FROM circuit WHERE task = 'webhook:' || $1::uuid"
_DELETE = "DELETE FROM webhook WHERE id = $1"
_DELIVERIES = f"""
SELECT job_id AS id, event, delivery.issue_id, state, attempts, status_code, delivery.created_at, finished_at,
    {ERROR} AS error, {NEXT_ATTEMPT_AT} AS next_attempt_at
FROM webhook_delivery delivery JOIN job ON job.id = job_id
WHERE webhook_id = $1 AND job_id < $2 ORDER BY job_id DESC LIMIT $3
"""
_TEST = f"""
WITH given AS (SELECT), new_job AS (
    {
    insert_jobs(
        "given",
        job_id="$1::uuid",
        task="$2::text",
        queue="$3::text",
        message="$4::jsonb",
        priority_class=str(PriorityClass.HIGH.value),
    )
}
)
INSERT INTO webhook_delivery (job_id, webhook_id, event) VALUES ($1, $5, $6)
"""


async def create_webhook(database: Database, webhook_id: UUID, new: WebhookCreate, secret: str) -> Webhook:
    """Store a webhook with its encrypted secret."""
    values = (new.url, new.events, new.active, secret, current_principal().name)
    row = await database.fetchrow(_CREATE, webhook_id, *values)
    assert row is not None
    return Webhook(**row)


async def list_webhooks(database: Database, before: UUID, limit: int) -> list[Webhook]:
    """Return at most `limit` webhooks older than `before`, newest first."""
    return [Webhook(**row) for row in await database.fetch(_PAGE, before, limit)]


async def get_webhook(database: Database, webhook_id: UUID) -> Webhook | None:
    """Return the webhook, or None if it does not exist."""
    return _webhook(await database.fetchrow(_GET, webhook_id))


async def lock_webhook(database: Database, webhook_id: UUID) -> Webhook | None:
    """Lock the webhook until the transaction ends and return it, or None if it does not exist."""
    if await database.fetchrow(_LOCK, webhook_id) is None:
        return None
    return await get_webhook(database, webhook_id)


async def change_webhook(database: Database, webhook_id: UUID, changes: Mapping[str, Any]) -> None:
    """Set columns of a webhook, named as in `WebhookPatch`, and close its circuit breaker."""
    columns = ", ".join(f"{name} = ${number}" for number, name in enumerate(changes, start=2))
    await database.execute(
        f"UPDATE webhook SET {columns}, deactivated_reason = NULL, updated_at = now() WHERE id = $1",
        webhook_id,
        *changes.values(),
    )
    await database.execute(_CLOSE_CIRCUIT, webhook_id)


async def rotate_secret(database: Database, webhook_id: UUID, secret: str, overlap_hours: int) -> Webhook | None:
    """Replace the encrypted secret of a webhook; return the webhook, or None if it does not exist."""
    return _webhook(await database.fetchrow(_ROTATE, webhook_id, secret, overlap_hours))


async def encrypt_secrets(database: Database, secrets: WebhookSecrets) -> EncryptedSecrets:
    """Encrypt all secrets with the first key, in the caller's transaction.

    A secret that no key decrypts does not change, and a previous one is deleted.
    """
    encrypted, unreadable = 0, []
    for row in await database.fetch(_LOCK_SECRETS):
        secret, previous = (_renew(secrets, row[column]) for column in ("secret", "previous_secret"))
        if secret is None:
            unreadable.append(row["id"])
        elif (secret, previous) != (row["secret"], row["previous_secret"]):
            await database.execute(_STORE_SECRETS, row["id"], secret, previous)
            encrypted += 1
    return EncryptedSecrets(encrypted=encrypted, unreadable=unreadable)


def _renew(secrets: WebhookSecrets, stored: str | None) -> str | None:
    """Return the secret encrypted with the first key, or None if there is none or no key decrypts it."""
    if stored is None or secrets.is_current(stored):
        return stored
    try:
        return secrets.renew(stored)
    except UnreadableSecret:
        return None


async def count_clear_secrets(database: Database) -> int:
    """Return the number of webhooks with a secret in clear text."""
    return int(await database.fetchval(_COUNT_CLEAR))


async def delete_webhook(database: Database, webhook_id: UUID) -> None:
    """Delete a webhook. A pruning job then ends and deletes its deliveries in batches.

    Workers start no further delivery. One that is in progress may still arrive.
    """
    await database.execute(_DELETE, webhook_id)
    await database.execute(_CLOSE_CIRCUIT, webhook_id)
    await prune_now(database)


async def list_deliveries(database: Database, webhook_id: UUID, before: UUID, limit: int) -> list[Delivery]:
    """Return at most `limit` deliveries older than `before`, newest first."""
    rows = await database.fetch(_DELIVERIES, webhook_id, before, limit)
    return [Delivery(**row) for row in rows]


async def create_test(database: Database, webhook_id: UUID) -> UUID:
    """Create the delivery of a test event and return its id."""
    delivery_id = new_id()
    message = DeliverWebhook(
        contract_version=CONTRACT_VERSION,
        job_id=delivery_id,
        webhook_id=webhook_id,
        request_id=request_id(),
        traceparent=tracing.traceparent(),
    )
    task = Task.DELIVER_WEBHOOK
    await database.execute(_TEST, delivery_id, task, QUEUE_OF[task], message.as_json(), webhook_id, WEBHOOK_TEST)
    return delivery_id


def _webhook(row: asyncpg.Record | None) -> Webhook | None:
    return None if row is None else Webhook(**row)
