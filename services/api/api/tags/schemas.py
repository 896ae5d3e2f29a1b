"""Request and response models of the tag endpoints."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.text import NOT_BLANK, NOT_NUL, VISIBLE
from contracts.vocabulary import DESCRIPTIONS


class TagKind(StrEnum):
    """Kind of a tag."""

    TYPE = "type"
    AREA = "area"
    LANGUAGE = "language"


class Tag(BaseModel):
    """A tag of the vocabulary."""

    name: str = Field(description="`lang:xx` stands for every language")
    kind: TagKind = Field(description="An issue has at most one `type`")
    description: str


class Vocabulary(BaseModel):
    """All tags that an issue can have."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"items": [{"name": "bug", "kind": "type", "description": "Something does not work as it should"}]}
            ]
        }
    )

    items: list[Tag]


Name = Annotated[str, StringConstraints(pattern=f"^({'|'.join(DESCRIPTIONS)})$")]
Description = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), NOT_NUL, VISIBLE, NOT_BLANK
]


class TagDescriptions(BaseModel):
    """Descriptions of tags. A missing tag gets its default description."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"descriptions": {"backend": "Everything behind the gateway"}}]},
    )

    descriptions: dict[Name, Description] = Field(
        description="Descriptions by tag name", json_schema_extra={"additionalProperties": False}
    )
