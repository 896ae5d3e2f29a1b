"""Request and response models of the token endpoints."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from api.access.principal import RESERVED_NAMES
from api.issues.schemas import Project
from contracts.limits import HOLDER_PATTERN
from contracts.states import Scope

Item = TypeVar("Item", bound=str)

DAYS = 90
DAYS_MAX = 3650


_EXAMPLE: dict[str, JsonValue] = {
    "id": "0197b4f4-8c5e-7a31-9d2b-3f6a1c0e5d77",
    "name": "crash-reporter",
    "hint": "itk_4fKq9Z",
    "scopes": ["issues:ingest"],
    "projects": ["acme/shop"],
    "state": "active",
    "created_at": "2026-11-24T09:30:00Z",
    "created_by": "admin-token",
    "expires_at": "2027-11-24T09:30:00Z",
    "revoked_at": None,
    "last_used_at": None,
}


_INGEST_RULE: dict[str, JsonValue] = {
    "if": {"properties": {"scopes": {"contains": {"const": Scope.ISSUES_INGEST}}}},
    "then": {
        "properties": {"scopes": {"items": {"const": Scope.ISSUES_INGEST}}, "projects": {"minItems": 1}},
        "required": ["projects"],
    },
    "else": {"properties": {"projects": {"maxItems": 0}}},
}


def _not_reserved(name: str) -> str:
    if name.lower() in RESERVED_NAMES:
        raise PydanticCustomError("reserved", "The name is reserved for the audit log. Use another name.")
    return name


def _each_once(values: list[Item]) -> list[Item]:
    return sorted(set(values))


class TokenCreate(BaseModel):
    """A new token: its holder, scopes and lifetime."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            **_INGEST_RULE,
            "examples": [
                {
                    "name": "crash-reporter",
                    "scopes": ["issues:ingest"],
                    "projects": ["acme/shop"],
                    "expires_in_days": 365,
                }
            ],
        },
    )

    name: Annotated[
        str,
        StringConstraints(pattern=HOLDER_PATTERN),
        AfterValidator(_not_reserved),
        Field(
            description="Name of the holder in the audit log; unique among tokens that are not revoked, "
            "in upper or lower case"
        ),
    ]
    scopes: Annotated[
        list[Scope],
        Field(
            min_length=1,
            max_length=10,
            description="Scopes to grant. `admin` includes all; `issues:write` does not include `issues:read`. "
            "`issues:ingest` must be the only one",
        ),
        AfterValidator(_each_once),
    ]
    projects: Annotated[
        list[Project],
        Field(
            max_length=20,
            description="The projects in which a token with `issues:ingest` may create issues, at least one; "
            "empty for other tokens",
        ),
        AfterValidator(_each_once),
    ] = []
    expires_in_days: Annotated[int, Field(ge=1, le=DAYS_MAX)] = DAYS

    @model_validator(mode="after")
    def _check_ingest(self) -> Self:
        is_ingest = Scope.ISSUES_INGEST in self.scopes
        if is_ingest and len(self.scopes) > 1:
            raise PydanticCustomError("ingest_scope", "issues:ingest cannot be combined with other scopes.")
        if is_ingest and not self.projects:
            raise PydanticCustomError("ingest_projects", "issues:ingest requires projects: name at least one.")
        if self.projects and not is_ingest:
            raise PydanticCustomError("projects", "Only a token with the scope issues:ingest can have projects.")
        return self


class TokenState(StrEnum):
    """State of a token."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Token(BaseModel):
    """A token without its secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: UUID
    name: str
    hint: str = Field(description="First characters of the token")
    scopes: list[str] = Field(description="Granted scopes; during an upgrade, maybe one of the next release")
    projects: list[str] = Field(description="The projects of a token with `issues:ingest`; empty for others")
    state: TokenState
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="Last use, to the minute; null if never used")


class NewToken(Token):
    """A new token with its secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_EXAMPLE, "token": "itk_..."}]})

    token: str = Field(description="The secret. It is returned only once, because only its SHA-256 is stored")


class TokenPage(BaseModel):
    """A page of tokens, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_EXAMPLE], "next_cursor": None}]})

    items: list[Token]
    next_cursor: str | None = Field(description="Value of `cursor` for the next page; null on the last page")
