"""What the issue endpoints take and answer."""

import re
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from api.paging import PageQuery
from api.text import AS_SENT, NOT_BLANK, NOT_NUL, HttpUrl
from api.timestamps import Timestamp
from contracts.limits import (
    DEFAULT_PROJECT,
    DESCRIPTION_MAX,
    EXTERNAL_ID_MAX,
    EXTERNAL_SOURCE_PATTERN,
    EXTERNAL_URL_MAX,
    PROJECT_PATTERN,
    TITLE_MAX,
)
from contracts.states import IssueSort, IssueStatus, JobState, Priority
from contracts.vocabulary import MAX_TAGS, TAG_PATTERN

QUERY_MAX = 200
_ABSENT = r'-(?:"[^"]*"?|[^"\s]\S*)'
_ONLY_ABSENT = re.compile(rf"\s*{_ABSENT}(?:\s+{_ABSENT})*\s*")

Title = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TITLE_MAX), NOT_NUL, NOT_BLANK
]
Project = Annotated[str, StringConstraints(pattern=PROJECT_PATTERN)]
Description = Annotated[str, StringConstraints(max_length=DESCRIPTION_MAX), NOT_NUL, AS_SENT]
ExternalId = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=EXTERNAL_ID_MAX), NOT_NUL, NOT_BLANK
]
Search = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=QUERY_MAX), NOT_NUL, NOT_BLANK
]

EXAMPLE: dict[str, Any] = {
    "id": "01a20614-800e-771f-862f-526a86f415ac",
    "project": "acme/shop",
    "title": "Login button does nothing on Safari",
    "description": "Since the last release a click on the login button has no effect.",
    "priority": "high",
    "status": "open",
    "duplicate_of": None,
    "external": {"source": "github:acme/shop", "id": "1207", "url": "https://github.com/acme/shop/issues/1207"},
    "ai_summary": "AI Summary: Login button does nothing on Safari",
    "stale": False,
    "needs_review": True,
    "tags": ["bug", "frontend"],
    "confirmed_tags": ["bug"],
    "tags_confirmed_at": None,
    "suggested_tags": [{"name": "frontend", "confidence": 0.81}],
    "enrichment": {"status": "succeeded", "attempts": 1, "started_at": None, "next_retry_at": None, "error": None},
    "created_at": "2026-11-24T09:55:10.120394Z",
    "updated_at": "2026-11-24T09:55:10.304127Z",
}


class External(BaseModel):
    """How another system knows the issue."""

    model_config = ConfigDict(extra="forbid")

    source: Annotated[str, StringConstraints(pattern=EXTERNAL_SOURCE_PATTERN)] = Field(
        description="The system, such as `github:acme/shop`"
    )
    id: ExternalId = Field(description="Its name there; unique in its source")
    url: Annotated[HttpUrl, StringConstraints(max_length=EXTERNAL_URL_MAX)] | None = None


class IssueCreate(BaseModel):
    """A new issue, as its reporter writes it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{name: EXAMPLE[name] for name in ("title", "description", "priority", "external")}]
        },
    )

    title: Title
    description: Description = ""
    priority: Priority = Priority.MEDIUM
    project: Project = Field(
        default=DEFAULT_PROJECT, description="Whose habits of tagging it follows, such as `acme/shop`"
    )
    external: External | None = None


def _without_defaults(schema: dict[str, Any]) -> None:
    """Say no default: what a patch leaves out stays as it is."""
    schema["examples"] = [{"priority": "critical", "status": "in_progress"}]
    for field in schema["properties"].values():
        field.pop("default", None)


class IssuePatch(BaseModel):
    """What to change of an issue (RFC 7396): what is left out stays, null removes what can be missing."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_without_defaults)

    title: Title = ""
    description: Description | None = Field(default="", description="Null empties it")
    priority: Priority = Priority.MEDIUM
    status: IssueStatus = IssueStatus.OPEN
    project: Project = DEFAULT_PROJECT
    duplicate_of: UUID | None = Field(
        default=None, description="The issue that says the same and is itself no duplicate"
    )

    def changes(self) -> dict[str, Any]:
        """Return the columns that are to change and their values."""
        changes = self.model_dump(exclude_unset=True)
        return {name: "" if name == "description" and value is None else value for name, value in changes.items()}


class EnrichmentState(BaseModel):
    """How far the newest enrichment of an issue has come."""

    status: JobState
    attempts: int
    started_at: datetime | None = Field(description="When a running job began its attempt")
    next_retry_at: datetime | None = Field(description="When a retrying job runs again")
    error: str | None = Field(description="The last attempt's error, where it failed")


class Suggestion(BaseModel):
    """A tag that the newest run suggests, and how sure the machine is of it."""

    name: str
    confidence: float


class Issue(BaseModel):
    """An issue and what was made of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: UUID
    project: str
    title: str
    description: str
    priority: Priority
    status: IssueStatus
    duplicate_of: UUID | None
    external: External | None
    ai_summary: str | None
    stale: bool = Field(
        description="The text has changed since the newest finished enrichment; another one follows"
    )
    needs_review: bool = Field(
        description="It is open or in progress, and nobody has decided on all that the newest run suggests"
    )
    tags: list[str]
    confirmed_tags: list[str] = Field(
        description="Those of `tags` that a person set or accepted; no run takes them away"
    )
    tags_confirmed_at: datetime | None = Field(description="When a person set all tags; no run changes them")
    suggested_tags: list[Suggestion] = Field(
        description="What the newest run suggests and nobody has decided on; with `AI=auto` it is in `tags` too"
    )
    enrichment: EnrichmentState | None
    created_at: datetime
    updated_at: datetime


class IssuePage(BaseModel):
    """A page of issues."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [EXAMPLE], "next_cursor": None}]})

    items: list[Issue]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null on the last")


def _looks_for_something(value: str) -> str:
    if _ONLY_ABSENT.fullmatch(value):
        raise PydanticCustomError(
            "only_absent", "Search should look for something, and not only leave something out"
        )
    return value


class IssueQuery(PageQuery):
    """Which issues, and in which order."""

    status: IssueStatus | None = None
    priority: Priority | None = None
    project: Project | None = None
    tag: list[Annotated[str, StringConstraints(pattern=TAG_PATTERN)]] = Field(
        default=[], max_length=MAX_TAGS, description="Repeat it for issues that have all of these tags"
    )
    enrichment: JobState | None = Field(default=None, description="The state of the newest enrichment")
    needs_review: bool | None = Field(default=None, description="Whether suggestions wait for a person")
    created_after: Timestamp | None = None
    updated_after: Timestamp | None = None
    q: Annotated[Search, AfterValidator(_looks_for_something)] | None = Field(
        default=None,
        description='Words in title or description; `"as a phrase"`, `or` and `-without` are understood',
    )
    sort: IssueSort | None = Field(default=None, description="`relevance` with `q`, else `-created`")

    @model_validator(mode="after")
    def _relevance_needs_words(self) -> Self:
        if self.sort is IssueSort.RELEVANCE and self.q is None:
            raise PydanticCustomError("relevance", "Sorting by relevance needs q")
        return self

    @property
    def order(self) -> IssueSort:
        """The sort that is asked for, or that fits."""
        return self.sort or (IssueSort.NEWEST if self.q is None else IssueSort.RELEVANCE)
