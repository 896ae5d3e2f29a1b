"""What the enrichment endpoints take and answer."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import PydanticCustomError

from contracts.states import Priority, TagVerdict
from contracts.vocabulary import MAX_TAGS, AreaTag, TypeTag, is_tag


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


class ConfirmedTags(BaseModel):
    """The tags that a person gives an issue, in place of those that it had."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"tags": ["bug", "frontend"]}]})

    tags: Annotated[list[str], Field(max_length=MAX_TAGS), AfterValidator(_of_vocabulary)]


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
