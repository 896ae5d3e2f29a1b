"""What the session endpoints take and answer."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from contracts.states import Scope


class Login(BaseModel):
    """A token to begin a session with."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"token": "itk_..."}]})

    token: Annotated[SecretStr, Field(min_length=1, max_length=200)]


class Session(BaseModel):
    """Who the API takes the caller for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "anonymous", "token_id": None, "scopes": ["admin"], "auth": False}]
        }
    )

    name: str = Field(description="As in the audit log; `anonymous` where AUTH is off")
    token_id: UUID | None
    scopes: list[Scope] = Field(description="What it may; `admin` includes the others")
    auth: bool = Field(description="Whether a token is asked for at all")
