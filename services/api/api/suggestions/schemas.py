"""What the endpoints of suggestions and their statistics take and answer."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from contracts.vocabulary import MAX_TAGS, TAG_PATTERN


class Choice(BaseModel):
    """Which suggestions are meant."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"tags": ["bug"], "priority": True}],
            "anyOf": [
                {"properties": {"tags": {"minItems": 1}}, "required": ["tags"]},
                {"properties": {"priority": {"const": True}}, "required": ["priority"]},
            ],
        },
    )

    tags: list[Annotated[str, StringConstraints(pattern=TAG_PATTERN)]] = Field(default=[], max_length=MAX_TAGS)
    priority: StrictBool = Field(default=False, description="The suggested priority too")

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        if not self.tags and not self.priority:
            raise PydanticCustomError("no_choice", "Name tags, or the priority, or both")
        return self


class Acceptance(BaseModel):
    """How often people accepted a suggestion."""

    accepted: int
    rejected: int
    acceptance: float | None = Field(
        ge=0, le=1, description="Share of those decided on; null where there are none"
    )


class TagAcceptance(Acceptance):
    """How often people accepted a tag, and how often they set it where it was not suggested."""

    tag: str
    added: int


class EnrichmentStatistics(BaseModel):
    """What people made of all suggestions so far: of each issue the newest verdict counts."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "tags": [{"tag": "bug", "accepted": 41, "rejected": 3, "added": 5, "acceptance": 0.93}],
                    "priority": {"accepted": 8, "rejected": 2, "acceptance": 0.8},
                }
            ]
        }
    )

    tags: list[TagAcceptance]
    priority: Acceptance
