"""Request and response models of the suggestion and statistics endpoints."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from contracts.vocabulary import MAX_TAGS, TAG_PATTERN


class Choice(BaseModel):
    """The suggestions to decide on."""

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
    priority: StrictBool = Field(default=False, description="Whether to include the suggested priority")

    @model_validator(mode="after")
    def _require_selection(self) -> Self:
        if not self.tags and not self.priority:
            raise PydanticCustomError("no_choice", "Nothing is selected. Set tags, or priority to true, or both.")
        return self


class Acceptance(BaseModel):
    """Number of accepted and rejected suggestions."""

    accepted: int
    rejected: int
    acceptance: float | None = Field(
        ge=0, le=1, description="Share of accepted suggestions; null if there are no decisions"
    )


class TagAcceptance(Acceptance):
    """Decisions on one tag; `added` counts issues where a user set it without a suggestion."""

    tag: str
    added: int


class EnrichmentStatistics(BaseModel):
    """Decisions on all suggestions; the newest decision on each issue counts."""

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
