"""The token endpoints, for admins."""

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request, Response

from api.access.credentials import CredentialsDep
from api.access.principal import PrincipalDep
from api.access.scopes import ADMIN
from api.access.secrets import HINT_LENGTH, TOKEN_PREFIX, digest, new_secret
from api.audit_trail import record
from api.database import DatabaseDep
from api.paging import PageQuery, page_by_id
from api.problems import require_found
from api.tokens import repository
from api.tokens.schemas import NewToken, Token, TokenCreate, TokenPage
from contracts.ids import new_id

router = APIRouter(prefix="/api/v1/tokens", tags=["access"], dependencies=[ADMIN])


@router.post("", operation_id="createToken", summary="Make a token", status_code=201)
async def create(new: TokenCreate, response: Response, database: DatabaseDep, actor: PrincipalDep) -> NewToken:
    """Make a token and answer it, this once: only its SHA-256 is stored. 409 where its name is taken."""
    secret, token_id = new_secret(TOKEN_PREFIX), new_id()
    async with database.transaction():
        token = await repository.create_token(
            database, token_id, new, digest(secret), secret[:HINT_LENGTH], actor.name
        )
        if token is None:
            detail = f"There is a token {new.name} that is not revoked: take another name, or revoke that one."
            raise HTTPException(409, detail)
        await record(database, "token.created", token_id, name=new.name, scopes=new.scopes)
    response.headers["Location"] = f"{router.prefix}/{token_id}"
    # Nobody on the way is to keep it.
    response.headers["Cache-Control"] = "no-store"
    return NewToken(**token.model_dump(), token=secret)


@router.get("", operation_id="listTokens", summary="List tokens, newest first")
async def list_page(
    request: Request, response: Response, database: DatabaseDep, query: Annotated[PageQuery, Query()]
) -> TokenPage:
    """Answer all tokens, also those that have expired or were revoked: the audit log names them."""
    page, next_cursor = await page_by_id(request, response, query, partial(repository.list_tokens, database))
    return TokenPage(items=page, next_cursor=next_cursor)


@router.get("/{token_id}", operation_id="getToken", summary="Get a token")
async def get_one(token_id: UUID, database: DatabaseDep) -> Token:
    """Answer what is known of it; never the token itself."""
    return require_found(await repository.get_token(database, token_id), f"token {token_id}")


@router.delete("/{token_id}", operation_id="revokeToken", summary="Revoke a token", status_code=204)
async def revoke(token_id: UUID, database: DatabaseDep, credentials: CredentialsDep) -> None:
    """Let nobody in with it, nor with a session made from it, within seconds; a second call changes nothing."""
    async with database.transaction():
        token = await repository.revoke_token(database, token_id)
        if token is not None:
            await record(database, "token.revoked", token_id, name=token.name)
        else:
            await get_one(token_id, database)
    credentials.clear_cache()
