"""Settings of an API that requires tokens, and tokens of every kind."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.database import Database
from tests.support.processes import Api

ADMIN = f"itk_admin_{secrets.token_hex(20)}"
CLOSED = {"AUTH": "on", "ADMIN_TOKEN": ADMIN}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@dataclass
class Tokens:
    """Creates tokens over the API as an admin."""

    api: Api

    def make(self, name: str, *scopes: str, **fields: Any) -> dict[str, Any]:
        response = self.api.client.post(
            "/api/v1/tokens", json={"name": name, "scopes": scopes, **fields}, headers=bearer(ADMIN)
        )
        assert response.status_code == 201, response.text
        token: dict[str, Any] = response.json()
        return token

    def revoke(self, token_id: str) -> httpx.Response:
        return self.api.client.delete(f"/api/v1/tokens/{token_id}", headers=bearer(ADMIN))

    def kinds(self, database: Database) -> Mapping[str, str]:
        """Return a token of each scope, an expired token and a revoked token."""
        kinds = {scope: self.make(scope.replace(":", "-"), scope)["token"] for scope in SCOPES}
        kinds[INGEST] = self.make("issues-ingest", INGEST, projects=["default"])["token"]
        kinds["expired"] = self.make("expired", "admin")["token"]
        database.query("UPDATE api_token SET expires_at = now() - interval '1 s' WHERE name = 'expired'")
        revoked = self.make("revoked", "admin")
        assert self.revoke(revoked["id"]).status_code == 204
        return {**kinds, "revoked": revoked["token"]}


SCOPES = ("issues:erase", "issues:read", "issues:write", "admin")
INGEST = "issues:ingest"
"""Requires projects, and cannot be combined with other scopes."""
NO_TOKEN = "no token"


def is_granted(security: list[dict[str, list[str]]], kind: str) -> bool:
    """Return whether an operation of the OpenAPI document allows a token of this scope, or `NO_TOKEN`.

    `security` is the document's requirement of the operation. `admin` includes every scope, and `issues:write`
    includes `issues:ingest`.
    """
    if not security:
        return True
    scopes = security[0]["token"]
    if not scopes:
        return kind not in {NO_TOKEN, INGEST}
    return kind in {*scopes, "admin"} or (scopes == [INGEST] and kind == "issues:write")
