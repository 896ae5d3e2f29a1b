"""The token endpoints, for admins."""

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request, Response

from api.access.credentials import CredentialsDep
from api.access.principal import PrincipalDep
from api.access.scopes import ADMIN, TOKEN_AGAIN
from api.access.secrets import HINT_LENGTH, TOKEN_PREFIX, digest, new_secret
from api.audit_trail import record
from api.database import DatabaseDep
from api.paging import PageQuery, page_by_id
from api.problems import require_found
from api.tokens import repository
from api.tokens.schemas import NewToken, Token, TokenCreate, TokenPage
from contracts.ids import new_id

router = APIRouter(prefix="/api/v1/tokens", tags=["access"], dependencies=[ADMIN])


@router.post("", operation_id="createToken", summary="Create a token", status_code=201, dependencies=[TOKEN_AGAIN])
async def create(new: TokenCreate, response: Response, database: DatabaseDep, actor: PrincipalDep) -> NewToken:
    """Create a token and return it once; only its SHA-256 is stored. Returns 409 if the name is in use.

    A session must present its token again, in the `Authorization` header.
    """
    secret, token_id = new_secret(TOKEN_PREFIX), new_id()
    async with database.transaction():
        token = await repository.create_token(
            database, token_id, new, digest(secret), secret[:HINT_LENGTH], actor.name
        )
        if token is None:
            detail = f"Token {new.name} already exists. Use another name, or revoke that token."
            raise HTTPException(409, detail)
        await record(database, "token.created", token_id, name=new.name, scopes=new.scopes, projects=new.projects)
    response.headers["Location"] = f"{router.prefix}/{token_id}"
    # No cache on the way may store the secret.
    response.headers["Cache-Control"] = "no-store"
    return NewToken(**token.model_dump(), token=secret)


@router.get("", operation_id="listTokens", summary="List tokens, newest first")
async def list_page(
    request: Request, response: Response, database: DatabaseDep, query: Annotated[PageQuery, Query()]
) -> TokenPage:
    """Return all tokens, including expired and revoked ones, because the audit log refers to them."""
    page, next_cursor = await page_by_id(request, response, query, partial(repository.list_tokens, database))
    return TokenPage(items=page, next_cursor=next_cursor)


@router.get("/{token_id}", operation_id="getToken", summary="Get a token")
async def get_one(token_id: UUID, database: DatabaseDep) -> Token:
    """Return a token's details, without its secret."""
    return require_found(await repository.get_token(database, token_id), f"token {token_id}")


@router.delete("/{token_id}", operation_id="revokeToken", summary="Revoke a token", status_code=204)
async def revoke(token_id: UUID, database: DatabaseDep, credentials: CredentialsDep) -> None:
    """Revoke a token and its sessions, within 5 seconds on every API process. Idempotent."""
    async with database.transaction():
        token = await repository.revoke_token(database, token_id)
        if token is not None:
            await record(database, "token.revoked", token_id, name=token.name)
        else:
            await get_one(token_id, database)
    credentials.clear_cache()
