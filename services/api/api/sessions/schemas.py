"""Request and response models of the session endpoints."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from contracts.states import Scope


class Login(BaseModel):
    """The token to start a session with."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"token": "itk_..."}]})

    token: Annotated[SecretStr, Field(min_length=1, max_length=200)]


class OwnSession(BaseModel):
    """An open session, without its secret."""

    id: UUID
    address: str = Field(description="Address of the client that logged in")
    created_at: datetime
    last_used_at: datetime = Field(description="Last use, stored at most once per minute")
    expires_at: datetime = Field(
        description="12 hours after its start or 2 hours after its last use, unless its token ends earlier"
    )


class OwnSessions(BaseModel):
    """The open sessions of a token, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "id": "0197b4f4-8c5e-4a31-9d2b-3f6a1c0e5d77",
                            "address": "192.0.2.7",
                            "created_at": "2026-11-24T09:30:00Z",
                            "last_used_at": "2026-11-24T10:41:00Z",
                            "expires_at": "2026-11-24T12:41:00Z",
                        }
                    ]
                }
            ]
        }
    )

    items: list[OwnSession]


class Session(BaseModel):
    """The principal of the request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "anonymous", "token_id": None, "scopes": ["admin"], "auth": False}]
        }
    )

    name: str = Field(description="Name in the audit log; `anonymous` if AUTH is off")
    token_id: UUID | None
    scopes: list[Scope] = Field(description="Granted scopes; `admin` includes the others")
    auth: bool = Field(description="Whether the API requires authentication")
