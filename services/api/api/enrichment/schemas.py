"""What the enrichment endpoints take and answer."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import PydanticCustomError

from contracts.states import Priority, TagVerdict
from contracts.vocabulary import MAX_TAGS, TAG_PATTERN, AreaTag, TypeTag, is_tag


def _of_vocabulary(tags: list[str]) -> list[str]:
    unknown = [tag for tag in tags if not is_tag(tag)]
    if unknown:
        known = ", ".join([*TypeTag, *AreaTag])
        raise PydanticCustomError(
            "tag", "'{tag}' is no tag: use {known} or lang:xx", {"tag": unknown[0], "known": known}
        )
    if len(set(tags)) < len(tags):
        raise PydanticCustomError("unique", "Tags should not repeat")
    types = [tag for tag in tags if tag in set(TypeTag)]
    if len(types) > 1:
        raise PydanticCustomError("one_type", "At most one of {types} fits", {"types": ", ".join(types)})
    return tags


_ONCE_AND_ONE_TYPE: dict[str, JsonValue] = {
    "uniqueItems": True,
    "contains": {"enum": [tag.value for tag in TypeTag]},
    "minContains": 0,
    "maxContains": 1,
}
"""The rules above for the OpenAPI document."""


class ConfirmedTags(BaseModel):
    """The tags that a person gives an issue, in place of those that it had."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"tags": ["bug", "frontend"]}]})

    tags: Annotated[
        list[Annotated[str, Field(json_schema_extra={"pattern": TAG_PATTERN})]],
        Field(max_length=MAX_TAGS, json_schema_extra=_ONCE_AND_ONE_TYPE),
        AfterValidator(_of_vocabulary),
    ]


class SuggestedTag(BaseModel):
    """A tag of the closed vocabulary, and how sure the machine is of it."""

    name: str
    confidence: float = Field(gt=0, lt=1)
    verdict: TagVerdict | None = Field(description="What a person made of it; no run changes that")


class SuggestedPriority(BaseModel):
    """A priority that a rule suggests; the reporter's own stays as it is."""

    value: Priority
    reason: str
    verdict: TagVerdict | None = Field(description="What a person made of it")


class Enrichment(BaseModel):
    """What the newest finished run made of an issue, and where it came from."""

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
                    "priority": {"value": "high", "reason": "nobody can log in", "verdict": None},
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
    language: str | None = Field(description="ISO 639-1 code, where the language was recognised")
    provenance: dict[str, JsonValue] = Field(
        description="Provider, model, versions, the input's hash, latency, and tokens and cost where there are any"
    )
    created_at: datetime
