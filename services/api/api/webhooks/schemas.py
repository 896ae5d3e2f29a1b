"""What the webhook endpoints take and answer."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, StringConstraints
from pydantic_core import PydanticCustomError

from api.text import HttpUrl
from contracts.states import JobState, WebhookEvent

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
            "url_parts", "URL should hold no user, no password and no fragment (elsewhere write %40 and %23)"
        )
    return url


def _each_once(events: list[WebhookEvent]) -> list[WebhookEvent]:
    return sorted(set(events))


Url = Annotated[
    HttpUrl,
    StringConstraints(max_length=URL_MAX),
    AfterValidator(_without_credentials),
    # JSON Schema cannot look at parts of a URL: so the whole of it has neither character.
    Field(json_schema_extra={"pattern": r'^https?://[!"$-?A-~]+$'}),
]
Events = Annotated[list[WebhookEvent], Field(min_length=1, max_length=20), AfterValidator(_each_once)]


class WebhookCreate(BaseModel):
    """A new webhook: where to deliver, and what."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{name: _EXAMPLE[name] for name in ("url", "events")}]}
    )

    url: Url = Field(description="http or https; private addresses only where WEBHOOK_ALLOW names them")
    events: Events
    active: StrictBool = True


def _without_defaults(schema: dict[str, Any]) -> None:
    """Say no default: what a patch leaves out stays as it is."""
    schema["examples"] = [{"active": False}]
    for field in schema["properties"].values():
        field.pop("default", None)


class WebhookPatch(BaseModel):
    """What to change of a webhook (RFC 7396): what is left out stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_without_defaults)

    url: Url = ""
    events: Events = []
    active: StrictBool = True


class SecretRotation(BaseModel):
    """How long deliveries are signed with the secret before as well."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"overlap_hours": OVERLAP_HOURS}]})

    overlap_hours: Annotated[StrictInt, Field(ge=0, le=OVERLAP_HOURS_MAX)] = Field(
        default=OVERLAP_HOURS, description="0 where the secret before has leaked"
    )


class Webhook(BaseModel):
    """A webhook without its secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: UUID
    url: str
    events: list[str]
    active: bool
    deactivated_reason: str | None = Field(description="Why a worker deactivated it; null where a person did")
    paused_until: datetime | None = Field(
        description="The receiver failed several times in a row: deliveries wait, and lose no attempt"
    )
    previous_secret_until: datetime | None = Field(
        description="Until then deliveries are signed with the secret before as well"
    )
    created_at: datetime
    created_by: str
    updated_at: datetime


class NewWebhook(Webhook):
    """A webhook with the secret that it has just been given."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_EXAMPLE, "secret": "whsec_..."}]})

    secret: str = Field(description="Shown this once; deliveries are signed with it")


class WebhookPage(BaseModel):
    """A page of webhooks, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_EXAMPLE], "next_cursor": None}]})

    items: list[Webhook]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null on the last")


class Delivery(BaseModel):
    """One event for one webhook, and how far its delivery has come."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DELIVERY]})

    id: UUID = Field(description="Its header `webhook-id`, the same in each attempt, and its job's id")
    event: str
    issue_id: UUID | None
    state: JobState = Field(description="`dead`: replay it as the dead letter of this id")
    attempts: int
    status_code: int | None = Field(description="What the receiver last answered")
    error: str | None = Field(description="The last attempt's error, where it failed")
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None


class DeliveryPage(BaseModel):
    """A page of a webhook's deliveries, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_DELIVERY], "next_cursor": None}]})

    items: list[Delivery]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null on the last")


class Queued(BaseModel):
    """A delivery that was asked for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": _DELIVERY["id"]}]})

    id: UUID = Field(description="Of the delivery")
