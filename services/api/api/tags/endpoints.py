"""The tag endpoints."""

from fastapi import APIRouter

from api.access.scopes import ADMIN
from api.audit_trail import record
from api.database import DatabaseDep
from api.tags import repository
from api.tags.schemas import TagDescriptions, Vocabulary

router = APIRouter(prefix="/api/v1/tags", tags=["tags"])


@router.get("", operation_id="listTags", summary="List all tags")
async def list_tags(database: DatabaseDep) -> Vocabulary:
    """Return every tag of the fixed vocabulary with its description."""
    return Vocabulary(items=await repository.list_tags(database))


@router.put("", operation_id="describeTags", summary="Set tag descriptions", dependencies=[ADMIN])
async def describe(new: TagDescriptions, database: DatabaseDep) -> Vocabulary:
    """Replace all descriptions. The tags themselves are fixed, because the models are trained on them."""
    async with database.transaction():
        await repository.set_descriptions(database, new.descriptions)
        await record(database, "tags.described", "tags", **new.descriptions)
        return Vocabulary(items=await repository.list_tags(database))
