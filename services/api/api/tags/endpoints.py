"""The tag endpoints."""

from fastapi import APIRouter

from api.audit_trail import record
from api.database import DatabaseDep
from api.tags import repository
from api.tags.schemas import Meanings, Vocabulary

router = APIRouter(prefix="/api/v1/tags", tags=["tags"])


@router.get("", operation_id="listTags", summary="List the tags that there are")
async def list_tags(database: DatabaseDep) -> Vocabulary:
    """Answer the closed vocabulary with what each word means."""
    return Vocabulary(items=await repository.list_tags(database))


@router.put("", operation_id="describeTags", summary="Say what tags mean")
async def describe(meanings: Meanings, database: DatabaseDep) -> Vocabulary:
    """Replace the descriptions. The words themselves are fixed: models are trained on them."""
    async with database.transaction():
        await repository.set_descriptions(database, meanings.descriptions)
        await record(database, "tags.described", "tags", **meanings.descriptions)
        return Vocabulary(items=await repository.list_tags(database))
