"""Tag descriptions in the database."""

from collections.abc import Mapping

from api.database import Database
from api.tags.schemas import Tag, TagKind
from contracts.vocabulary import DESCRIPTIONS, AreaTag, TypeTag

_LIST = "SELECT name, description FROM tag_description"
_DELETE_OTHERS = "DELETE FROM tag_description WHERE name <> ALL($1::text[])"
_SET = """
INSERT INTO tag_description (name, description) SELECT * FROM unnest($1::text[], $2::text[])
ON CONFLICT (name) DO UPDATE SET description = excluded.description, updated_at = now()
WHERE tag_description.description <> excluded.description
"""


async def list_tags(database: Database) -> list[Tag]:
    """Return the vocabulary in its own order, with custom descriptions where they exist."""
    custom = {row["name"]: row["description"] for row in await database.fetch(_LIST)}
    return [
        Tag(name=name, kind=_kind(name), description=custom.get(name, description))
        for name, description in DESCRIPTIONS.items()
    ]


async def set_descriptions(database: Database, descriptions: Mapping[str, str]) -> None:
    """Replace all custom descriptions. Call this in a transaction."""
    await database.execute(_DELETE_OTHERS, list(descriptions))
    await database.execute(_SET, list(descriptions), list(descriptions.values()))


def _kind(name: str) -> TagKind:
    if name in set(TypeTag):
        return TagKind.TYPE
    return TagKind.AREA if name in set(AreaTag) else TagKind.LANGUAGE
