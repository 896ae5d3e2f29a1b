"""Request and response models of the enrichment endpoints."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import PydanticCustomError

from contracts.states import Priority, TagVerdict
from contracts.validation import format_value
from contracts.vocabulary import MAX_TAGS, TAG_PATTERN, TAG_RULE, TypeTag, is_tag


def _require_known_tags(tags: list[str]) -> list[str]:
    unknown = [tag for tag in tags if not is_tag(tag)]
    if unknown:
        shown = {"tag": format_value(unknown[0]), "rule": TAG_RULE}
        raise PydanticCustomError("tag", "{tag} is not valid. Use {rule}.", shown)
    if len(set(tags)) < len(tags):
        raise PydanticCustomError("unique", "The tags are not unique. Use each tag once.")
    types = [tag for tag in tags if tag in set(TypeTag)]
    if len(types) > 1:
        raise PydanticCustomError(
            "one_type", "There are several types: {types}. Use at most one.", {"types": ", ".join(types)}
        )
    return tags


_ONCE_AND_ONE_TYPE: dict[str, JsonValue] = {
    "uniqueItems": True,
    "contains": {"enum": [tag.value for tag in TypeTag]},
    "minContains": 0,
    "maxContains": 1,
}
"""The same rules for the OpenAPI document."""


class ConfirmedTags(BaseModel):
    """Tags that replace all tags of an issue."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"tags": ["bug", "frontend"]}]})

    tags: Annotated[
        list[Annotated[str, Field(json_schema_extra={"pattern": TAG_PATTERN})]],
        Field(max_length=MAX_TAGS, json_schema_extra=_ONCE_AND_ONE_TYPE),
        AfterValidator(_require_known_tags),
    ]


class SuggestedTag(BaseModel):
    """A suggested tag with its confidence."""

    name: str
    confidence: float = Field(gt=0, lt=1)
    verdict: TagVerdict | None = Field(description="Decision of a user; later runs do not change it")


class SuggestedPriority(BaseModel):
    """A priority that a rule suggests; it does not change the issue's priority."""

    value: Priority
    reason: str
    verdict: TagVerdict | None = Field(description="Decision of a user")


class Enrichment(BaseModel):
    """Result of an issue's newest finished run, with its provenance."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "issue_id": "01a20614-800e-771f-862f-526a86f415ac",
                    "job_id": "01a20614-800f-7a10-9a1b-8c5f8f2c0d11",
                    "summary": "AI Summary: Login button does nothing on Safari",
                    "tags": [
                        {"name": "bug", "confidence": 0.94, "verdict": "accepted"},
                        {"name": "frontend", "confidence": 0.81, "verdict": None},
                    ],
                    "priority": {"value": "high", "reason": "cannot log in", "verdict": None},
                    "language": "en",
                    "provenance": {"provider": "local", "model": "linear-lexicon", "duration_ms": 4.1},
                    "created_at": "2026-11-24T09:55:10.304127Z",
                }
            ]
        }
    )

    issue_id: UUID
    job_id: UUID
    summary: str
    tags: list[SuggestedTag] = Field(description="At most one type, two areas and one `lang:xx`")
    priority: SuggestedPriority | None
    language: str | None = Field(description="ISO 639-1 code; null if the language was not recognized")
    provenance: dict[str, JsonValue] = Field(
        description="Provider, model, versions, hash of the input, latency, and tokens and cost if known"
    )
    created_at: datetime
