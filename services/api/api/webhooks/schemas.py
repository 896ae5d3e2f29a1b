"""Request and response models of the webhook endpoints."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, StringConstraints
from pydantic_core import PydanticCustomError

from api.text import HttpUrl
from contracts.states import JobState, WebhookEvent
from contracts.webhook_targets import explain_host

URL_MAX = 2000
OVERLAP_HOURS = 24
OVERLAP_HOURS_MAX = 168

_EXAMPLE: dict[str, Any] = {
    "id": "0197b4f4-8c5e-7a31-9d2b-3f6a1c0e5d77",
    "url": "https://hooks.example.com/issues",
    "events": ["issue.enriched", "issue.deleted"],
    "active": True,
    "deactivated_reason": None,
    "paused_until": None,
    "previous_secret_until": None,
    "created_at": "2026-11-24T09:30:00Z",
    "created_by": "admin-token",
    "updated_at": "2026-11-24T09:30:00Z",
}
_DELIVERY: dict[str, Any] = {
    "id": "01a20614-9a11-7c02-8f3e-0d2f6f1c2b90",
    "event": "issue.enriched",
    "issue_id": "01a20614-800e-771f-862f-526a86f415ac",
    "state": "retrying",
    "attempts": 1,
    "status_code": 503,
    "error": "ProviderError: status 503",
    "next_attempt_at": "2026-11-24T09:56:10.304127Z",
    "created_at": "2026-11-24T09:55:10.304127Z",
    "finished_at": None,
}


def _without_credentials(url: str) -> str:
    if "@" in url or "#" in url:
        raise PydanticCustomError(
            "url_parts",
            "The URL has a user, a password or a fragment. Remove it, or write %40 for @ and %23 for #.",
        )
    return url


def _with_plain_host(url: str) -> str:
    fault = explain_host(url)
    if fault is not None:
        raise PydanticCustomError("url_host", "{fault}", {"fault": fault})
    return url


def _each_once(events: list[WebhookEvent]) -> list[WebhookEvent]:
    return sorted(set(events))


Url = Annotated[
    HttpUrl,
    StringConstraints(max_length=URL_MAX),
    AfterValidator(_without_credentials),
    AfterValidator(_with_plain_host),
    # JSON Schema cannot check parts of a URL, so its pattern excludes both characters everywhere.
    Field(json_schema_extra={"pattern": r'^https?://[!"$-?A-~]+$'}),
]
Events = Annotated[list[WebhookEvent], Field(min_length=1, max_length=20), AfterValidator(_each_once)]


class WebhookCreate(BaseModel):
    """A new webhook: its URL and events."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{name: _EXAMPLE[name] for name in ("url", "events")}]}
    )

    url: Url = Field(description="An http or https URL. Private addresses must be in WEBHOOK_ALLOW")
    events: Events
    active: StrictBool = True


def _without_defaults(schema: dict[str, Any]) -> None:
    """Remove the defaults: a field that is missing from a patch keeps its value."""
    schema["examples"] = [{"active": False}]
    for field in schema["properties"].values():
        field.pop("default", None)


class WebhookPatch(BaseModel):
    """Changes of a webhook (RFC 7396). Missing fields keep their value."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_without_defaults)

    url: Url = ""
    events: Events = []
    active: StrictBool = True


class SecretRotation(BaseModel):
    """Overlap during which deliveries are signed with both the new and the previous secret."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"overlap_hours": OVERLAP_HOURS}]})

    overlap_hours: Annotated[StrictInt, Field(ge=0, le=OVERLAP_HOURS_MAX)] = Field(
        default=OVERLAP_HOURS,
        description="Hours that the previous secret also signs deliveries. Use 0 if it has leaked",
    )


class Webhook(BaseModel):
    """A webhook without its secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: UUID
    url: str
    events: list[str]
    active: bool
    deactivated_reason: str | None = Field(description="Reason why a worker deactivated it; null if a user did")
    paused_until: datetime | None = Field(
        description="End of a pause after several failures of the receiver. Waiting deliveries use no attempt"
    )
    previous_secret_until: datetime | None = Field(
        description="Time until which the previous secret also signs deliveries"
    )
    created_at: datetime
    created_by: str
    updated_at: datetime


class NewWebhook(Webhook):
    """A webhook with its new secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_EXAMPLE, "secret": "whsec_..."}]})

    secret: str = Field(description="Secret that signs deliveries. It is returned only once")


class EncryptedSecrets(BaseModel):
    """Result of an encryption of all secrets."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"encrypted": 3, "unreadable": []}]})

    encrypted: int = Field(description="Number of webhooks whose secrets were encrypted with the first key")
    unreadable: list[UUID] = Field(description="Webhooks whose secret no key decrypts")


class WebhookPage(BaseModel):
    """A page of webhooks, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_EXAMPLE], "next_cursor": None}]})

    items: list[Webhook]
    next_cursor: str | None = Field(description="Value of `cursor` for the next page; null on the last page")


class Delivery(BaseModel):
    """Delivery of one event to one webhook."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DELIVERY]})

    id: UUID = Field(description="Id of the job; also the `webhook-id` header of every attempt")
    event: str
    issue_id: UUID | None
    state: JobState = Field(description="Replay a `dead` delivery as the dead letter with this id")
    attempts: int
    status_code: int | None = Field(description="Last status code of the receiver")
    error: str | None = Field(description="Error of the last attempt, if it failed")
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None


class DeliveryPage(BaseModel):
    """A page of a webhook's deliveries, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_DELIVERY], "next_cursor": None}]})

    items: list[Delivery]
    next_cursor: str | None = Field(description="Value of `cursor` for the next page; null on the last page")


class Queued(BaseModel):
    """A queued delivery."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": _DELIVERY["id"]}]})

    id: UUID = Field(description="Id of the delivery")
