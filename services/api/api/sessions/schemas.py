"""Request and response models of the session endpoints."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from contracts.states import Scope


class Login(BaseModel):
    """The token to start a session with."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"token": "itk_..."}]})

    token: Annotated[SecretStr, Field(min_length=1, max_length=200)]


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
