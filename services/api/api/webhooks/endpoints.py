"""The webhook endpoints, for admins, because a webhook receives every issue and makes workers send requests."""

from functools import partial
from typing import Annotated
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request, Response

from api.access.scopes import ADMIN, TOKEN_AGAIN
from api.audit_trail import record
from api.database import DatabaseDep
from api.paging import PageQuery, page_by_id
from api.problems import invalid, require_found
from api.webhooks import repository
from api.webhooks.schemas import (
    DeliveryPage,
    EncryptedSecrets,
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


@router.post(
    "", operation_id="createWebhook", summary="Create a webhook", status_code=201, dependencies=[TOKEN_AGAIN]
)
async def create(new: WebhookCreate, request: Request, response: Response, database: DatabaseDep) -> NewWebhook:
    """Deliver events to a URL from now on. The signing secret is returned only once."""
    _require_reachable(request, new.url)
    secret, webhook_id = new_webhook_secret(), new_id()
    encrypted = request.app.state.settings.webhook_secrets.encrypt(secret)
    async with database.transaction():
        webhook = await repository.create_webhook(database, webhook_id, new, encrypted)
        await record(database, "webhook.created", webhook_id, url=new.url, events=new.events)
    response.headers["Location"] = f"{router.prefix}/{webhook_id}"
    return _with_secret(response, webhook, secret)


@router.get("", operation_id="listWebhooks", summary="List webhooks, newest first")
async def list_page(
    request: Request, response: Response, database: DatabaseDep, query: Annotated[PageQuery, Query()]
) -> WebhookPage:
    """Return all webhooks, without their secrets."""
    page, next_cursor = await page_by_id(request, response, query, partial(repository.list_webhooks, database))
    return WebhookPage(items=page, next_cursor=next_cursor)


@router.get("/{webhook_id}", operation_id="getWebhook", summary="Get a webhook")
async def get_one(webhook_id: UUID, database: DatabaseDep) -> Webhook:
    """Return a webhook's details, without its secret."""
    return require_found(await repository.get_webhook(database, webhook_id), f"webhook {webhook_id}")


@router.patch(
    "/{webhook_id}", operation_id="changeWebhook", summary="Change a webhook", dependencies=[TOKEN_AGAIN]
)
async def change(webhook_id: UUID, patch: WebhookPatch, request: Request, database: DatabaseDep) -> Webhook:
    """Apply a JSON merge patch (RFC 7396). Events that occur while a webhook is inactive are never delivered."""
    if "url" in patch.model_fields_set:
        _require_reachable(request, patch.url)
    async with database.transaction():
        webhook = require_found(await repository.lock_webhook(database, webhook_id), f"webhook {webhook_id}")
        requested = patch.model_dump(exclude_unset=True)
        changes = {name: value for name, value in requested.items() if value != getattr(webhook, name)}
        if changes:
            await repository.change_webhook(database, webhook_id, changes)
            await record(database, "webhook.changed", webhook_id, **changes)
        return await get_one(webhook_id, database)


@router.delete("/{webhook_id}", operation_id="deleteWebhook", summary="Delete a webhook", status_code=204)
async def delete(webhook_id: UUID, request: Request, database: DatabaseDep) -> None:
    """Delete a webhook and its secret. A worker then deletes its deliveries; waiting ones end `skipped`."""
    async with database.transaction():
        webhook = require_found(await repository.lock_webhook(database, webhook_id), f"webhook {webhook_id}")
        await repository.delete_webhook(database, webhook_id)
        await record(database, "webhook.deleted", webhook_id, url=webhook.url)
    request.app.state.dispatcher.wake()


@router.post("/secrets/encrypt", operation_id="encryptWebhookSecrets", summary="Encrypt all secrets of webhooks")
async def encrypt_secrets(request: Request, database: DatabaseDep) -> EncryptedSecrets:
    """Encrypt all secrets with the first key of SECRET_KEYS, after this setting has changed."""
    settings = request.app.state.settings
    if not settings.secret_keys:
        raise HTTPException(409, "SECRET_KEYS is not set. Set it for the API and the workers, and restart them.")
    async with database.transaction():
        done = await repository.encrypt_secrets(database, settings.webhook_secrets)
        await record(database, "webhook.secrets_encrypted", "all", encrypted=done.encrypted)
    return done


@router.post(
    "/{webhook_id}/secret",
    operation_id="rotateWebhookSecret",
    summary="Rotate a webhook's secret",
    dependencies=[TOKEN_AGAIN],
)
async def rotate(
    webhook_id: UUID, rotation: SecretRotation, request: Request, response: Response, database: DatabaseDep
) -> NewWebhook:
    """Return a new secret, once. During the overlap, deliveries are signed with both secrets."""
    secret = new_webhook_secret()
    encrypted = request.app.state.settings.webhook_secrets.encrypt(secret)
    async with database.transaction():
        rotated = await repository.rotate_secret(database, webhook_id, encrypted, rotation.overlap_hours)
        webhook = require_found(rotated, f"webhook {webhook_id}")
        await record(database, "webhook.secret_rotated", webhook_id, overlap_hours=rotation.overlap_hours)
    return _with_secret(response, webhook, secret)


@router.post(
    "/{webhook_id}/test", operation_id="testWebhook", summary="Send a test event to a webhook", status_code=202
)
async def test(webhook_id: UUID, request: Request, database: DatabaseDep) -> Queued:
    """Queue a `webhook.test` event, also for an inactive webhook. Its deliveries show the outcome."""
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
    """Return past, current and scheduled deliveries, newest first. Replay a dead one as a dead letter."""
    await get_one(webhook_id, database)
    read = partial(repository.list_deliveries, database, webhook_id)
    page, next_cursor = await page_by_id(request, response, query, read)
    return DeliveryPage(items=page, next_cursor=next_cursor)


def _require_reachable(request: Request, url: str) -> None:
    """Reject a literal address that workers do not deliver to. Host names are checked at each delivery."""
    host = urlsplit(url).hostname or ""
    address = parse_ip_literal(host)
    if address is not None and not request.app.state.settings.webhook_allow.permits(host, address):
        detail = f"{address} is a private address. Use a public one, or have the operator add it to WEBHOOK_ALLOW."
        raise invalid(("body", "url"), "private_address", detail)


def _with_secret(response: Response, webhook: Webhook, secret: str) -> NewWebhook:
    # No cache on the way may store the secret.
    response.headers["Cache-Control"] = "no-store"
    return NewWebhook(**webhook.model_dump(), secret=secret)
