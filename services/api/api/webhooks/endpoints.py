"""The webhook endpoints, for admins: whoever has one sees every issue, and has the workers send requests."""

from functools import partial
from typing import Annotated
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from api.access.scopes import ADMIN
from api.audit_trail import record
from api.database import DatabaseDep
from api.paging import PageQuery, page_by_id
from api.problems import invalid, require_found
from api.webhooks import repository
from api.webhooks.schemas import (
    DeliveryPage,
    NewWebhook,
    Queued,
    SecretRotation,
    Webhook,
    WebhookCreate,
    WebhookPage,
    WebhookPatch,
)
from api.webhooks.secret import new_webhook_secret
from contracts.ids import new_id
from contracts.webhook_targets import parse_ip_literal

router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"], dependencies=[ADMIN])


@router.post("", operation_id="createWebhook", summary="Make a webhook", status_code=201)
async def create(new: WebhookCreate, request: Request, response: Response, database: DatabaseDep) -> NewWebhook:
    """Have events delivered to a URL from now on; answer the secret that they are signed with, this once."""
    _require_reachable(request, new.url)
    secret, webhook_id = new_webhook_secret(), new_id()
    async with database.transaction():
        webhook = await repository.create_webhook(database, webhook_id, new, secret)
        await record(database, "webhook.created", webhook_id, url=new.url, events=new.events)
    response.headers["Location"] = f"{router.prefix}/{webhook_id}"
    return _with_secret(response, webhook, secret)


@router.get("", operation_id="listWebhooks", summary="List webhooks, newest first")
async def list_page(
    request: Request, response: Response, database: DatabaseDep, query: Annotated[PageQuery, Query()]
) -> WebhookPage:
    """Answer all webhooks, without their secrets."""
    page, next_cursor = await page_by_id(request, response, query, partial(repository.list_webhooks, database))
    return WebhookPage(items=page, next_cursor=next_cursor)


@router.get("/{webhook_id}", operation_id="getWebhook", summary="Get a webhook")
async def get_one(webhook_id: UUID, database: DatabaseDep) -> Webhook:
    """Answer what is known of it; never its secret."""
    return require_found(await repository.get_webhook(database, webhook_id), f"webhook {webhook_id}")


@router.patch("/{webhook_id}", operation_id="changeWebhook", summary="Change a webhook")
async def change(webhook_id: UUID, patch: WebhookPatch, request: Request, database: DatabaseDep) -> Webhook:
    """Apply a merge patch. Events that happen while it is not active are not delivered, now or later."""
    if "url" in patch.model_fields_set:
        _require_reachable(request, patch.url)
    async with database.transaction():
        webhook = require_found(await repository.lock_webhook(database, webhook_id), f"webhook {webhook_id}")
        asked = patch.model_dump(exclude_unset=True)
        changes = {name: value for name, value in asked.items() if value != getattr(webhook, name)}
        if changes:
            await repository.change_webhook(database, webhook_id, changes)
            await record(database, "webhook.changed", webhook_id, **changes)
        return await get_one(webhook_id, database)


@router.delete("/{webhook_id}", operation_id="deleteWebhook", summary="Delete a webhook", status_code=204)
async def delete(webhook_id: UUID, request: Request, database: DatabaseDep) -> None:
    """Forget it and its secret; a worker then forgets its deliveries, and what waits ends skipped."""
    async with database.transaction():
        webhook = require_found(await repository.lock_webhook(database, webhook_id), f"webhook {webhook_id}")
        await repository.delete_webhook(database, webhook_id)
        await record(database, "webhook.deleted", webhook_id, url=webhook.url)
    request.app.state.dispatcher.wake()


@router.post("/{webhook_id}/secret", operation_id="rotateWebhookSecret", summary="Give a webhook another secret")
async def rotate(
    webhook_id: UUID, rotation: SecretRotation, response: Response, database: DatabaseDep
) -> NewWebhook:
    """Answer the new secret, this once; for a while deliveries carry a signature of each."""
    secret = new_webhook_secret()
    async with database.transaction():
        rotated = await repository.rotate_secret(database, webhook_id, secret, rotation.overlap_hours)
        webhook = require_found(rotated, f"webhook {webhook_id}")
        await record(database, "webhook.secret_rotated", webhook_id, overlap_hours=rotation.overlap_hours)
    return _with_secret(response, webhook, secret)


@router.post(
    "/{webhook_id}/test", operation_id="testWebhook", summary="Deliver a test event to a webhook", status_code=202
)
async def test(webhook_id: UUID, request: Request, database: DatabaseDep) -> Queued:
    """Queue an event `webhook.test`, also for a webhook that is not active; its deliveries tell how it went."""
    async with database.transaction():
        await get_one(webhook_id, database)
        delivery_id = await repository.create_test(database, webhook_id)
        await record(database, "webhook.tested", webhook_id, delivery_id=str(delivery_id))
    request.app.state.dispatcher.wake()
    return Queued(id=delivery_id)


@router.get("/{webhook_id}/deliveries", operation_id="listWebhookDeliveries", summary="List deliveries")
async def deliveries(
    webhook_id: UUID,
    request: Request,
    response: Response,
    database: DatabaseDep,
    query: Annotated[PageQuery, Query()],
) -> DeliveryPage:
    """Answer what was, is and will be delivered, newest first; a dead one is replayed as its dead letter."""
    await get_one(webhook_id, database)
    read = partial(repository.list_deliveries, database, webhook_id)
    page, next_cursor = await page_by_id(request, response, query, read)
    return DeliveryPage(items=page, next_cursor=next_cursor)


def _require_reachable(request: Request, url: str) -> None:
    """Refuse an address that no worker would deliver to; what a name leads to is looked at in each delivery."""
    host = urlsplit(url).hostname or ""
    address = parse_ip_literal(host)
    if address is not None and not request.app.state.settings.webhook_allow.permits(host, address):
        detail = "URL should not be a private address that WEBHOOK_ALLOW does not name"
        raise invalid(("body", "url"), "private_address", detail)


def _with_secret(response: Response, webhook: Webhook, secret: str) -> NewWebhook:
    # Nobody on the way is to keep it.
    response.headers["Cache-Control"] = "no-store"
    return NewWebhook(**webhook.model_dump(), secret=secret)
