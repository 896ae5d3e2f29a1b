"""Request and response models of the issue endpoints."""

from datetime import datetime
from functools import cached_property
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

from api.issues.search import InvalidSearch, Search, read_search
from api.paging import PageQuery
from api.text import NOT_BLANK, NOT_NUL, NOT_NUL_SCHEMA, VISIBLE, HttpUrl
from api.timestamps import Timestamp
from contracts.limits import (
    DEFAULT_PROJECT,
    DESCRIPTION_MAX,
    EXTERNAL_ID_MAX,
    EXTERNAL_SOURCE_PATTERN,
    EXTERNAL_URL_MAX,
    PERSON_NAME_MAX,
    PROJECT_PATTERN,
    TITLE_MAX,
)
from contracts.states import IssueSort, IssueStatus, JobState, Priority
from contracts.vocabulary import MAX_TAGS, TAG_PATTERN

QUERY_MAX = 200

Title = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TITLE_MAX), NOT_NUL, VISIBLE, NOT_BLANK
]
Project = Annotated[str, StringConstraints(pattern=PROJECT_PATTERN)]
Description = Annotated[str, StringConstraints(max_length=DESCRIPTION_MAX), NOT_NUL, NOT_NUL_SCHEMA]
ExternalId = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=EXTERNAL_ID_MAX),
    NOT_NUL,
    VISIBLE,
    NOT_BLANK,
]
PersonName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=PERSON_NAME_MAX), NOT_NUL, NOT_BLANK
]
SearchText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=QUERY_MAX), NOT_NUL, VISIBLE, NOT_BLANK
]

EXAMPLE: dict[str, Any] = {
    "id": "01a20614-800e-771f-862f-526a86f415ac",
    "project": "acme/shop",
    "title": "Login button does nothing on Safari",
    "description": "Since the last release a click on the login button has no effect.",
    "priority": "high",
    "status": "open",
    "duplicate_of": None,
    "external": {
        "source": "github:acme/shop",
        "id": "1207",
        "url": "https://github.com/acme/shop/issues/1207",
        "created_at": "2026-11-24T09:55:10Z",
        "updated_at": None,
        "closed_at": None,
        "author": "alice",
        "assignee": None,
    },
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


ExternalSource = Annotated[str, StringConstraints(pattern=EXTERNAL_SOURCE_PATTERN)]


class External(BaseModel):
    """The issue's identity in another system."""

    model_config = ConfigDict(extra="forbid")

    source: ExternalSource = Field(description="Source system, such as `github:acme/shop`")
    id: ExternalId = Field(description="Id in the source system; unique there")
    url: Annotated[HttpUrl, StringConstraints(max_length=EXTERNAL_URL_MAX)] | None = None


class ExternalRecord(External):
    """The issue's identity in another system, and what an import has kept of its history there."""

    created_at: datetime | None = Field(default=None, description="Time of creation in the source system")
    updated_at: datetime | None = Field(default=None, description="Time of the last change there")
    closed_at: datetime | None = Field(default=None, description="Time when it was closed there")
    author: PersonName | None = Field(default=None, description="Name of its author there")
    assignee: PersonName | None = Field(default=None, description="Name of its assignee there")


EXTERNAL_DETAILS = ("created_at", "updated_at", "closed_at", "author", "assignee")
"""The fields of `ExternalRecord` besides the identity."""


class IssueCreate(BaseModel):
    """A new issue."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {name: EXAMPLE[name] for name in ("title", "description", "priority")}
                | {"external": {name: EXAMPLE["external"][name] for name in ("source", "id", "url")}}
            ]
        },
    )

    title: Title
    description: Description = ""
    priority: Priority = Priority.MEDIUM
    project: Project = Field(
        default=DEFAULT_PROJECT, description="Project whose model applies, such as `acme/shop`"
    )
    external: External | None = None


def _without_defaults(schema: dict[str, Any]) -> None:
    """Remove the defaults: a field that is missing from a patch keeps its value."""
    schema["examples"] = [{"priority": "critical", "status": "in_progress"}]
    for field in schema["properties"].values():
        field.pop("default", None)


class IssuePatch(BaseModel):
    """Changes of an issue (RFC 7396). Missing fields keep their value; null clears an optional field."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_without_defaults)

    title: Title = ""
    description: Description | None = Field(default="", description="Null clears it")
    priority: Priority = Priority.MEDIUM
    status: IssueStatus = IssueStatus.OPEN
    project: Project = DEFAULT_PROJECT
    duplicate_of: UUID | None = Field(
        default=None, description="Id of the original issue, which must not be a duplicate itself"
    )

    def changes(self) -> dict[str, Any]:
        """Return the changed columns and their new values."""
        changes = self.model_dump(exclude_unset=True)
        return {name: "" if name == "description" and value is None else value for name, value in changes.items()}


class EnrichmentState(BaseModel):
    """State of an issue's newest enrichment run."""

    status: JobState
    attempts: int
    started_at: datetime | None = Field(description="Start of a running job's attempt")
    next_retry_at: datetime | None = Field(description="Time of a retrying job's next attempt")
    error: str | None = Field(description="Error of the last attempt, if it failed")


class Suggestion(BaseModel):
    """A tag that the newest run suggests, with its confidence."""

    name: str
    confidence: float


class Issue(BaseModel):
    """An issue with its enrichment."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: UUID
    project: str
    title: str
    description: str
    priority: Priority
    status: IssueStatus
    duplicate_of: UUID | None
    external: ExternalRecord | None
    ai_summary: str | None
    stale: bool = Field(
        description="Whether the text has changed since the newest finished run; another run is scheduled"
    )
    needs_review: bool = Field(
        description="Whether the issue is open or in progress, and has suggestions that await a decision"
    )
    tags: list[str]
    confirmed_tags: list[str] = Field(
        description="Tags that a user set or accepted; later runs do not remove them"
    )
    tags_confirmed_at: datetime | None = Field(
        description="Time when a user set all tags; later runs do not change them"
    )
    suggested_tags: list[Suggestion] = Field(
        description="Suggestions of the newest run that await a decision; with `AI=auto` they are also in `tags`"
    )
    enrichment: EnrichmentState | None
    created_at: datetime
    updated_at: datetime


class IssuePage(BaseModel):
    """A page of issues."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"items": [EXAMPLE], "next_cursor": None, "total": 1, "total_is_exact": True}]
        }
    )

    items: list[Issue]
    next_cursor: str | None = Field(description="Value of `cursor` for the next page; null on the last page")
    total: int | None = Field(
        default=None, description="With `total=true`, the number of matching issues, counted up to 10,000"
    )
    total_is_exact: bool | None = Field(
        default=None, description="False if there are more than `total` issues: show it as `10,000+`"
    )
    notice: str | None = Field(
        default=None, description="Why a search found nothing: all its words are too common to be searched for"
    )


def _check_search(value: str) -> str:
    try:
        search = read_search(value)
    except InvalidSearch as error:
        raise PydanticCustomError("filter", "{detail}", {"detail": str(error)}) from None
    if not search.filters and all(term.is_excluded for term in search.terms):
        raise PydanticCustomError(
            "only_absent", "The search only excludes words. Add at least one word to search for."
        )
    return value


class IssueQuery(PageQuery):
    """Filters, sort order and paging of the list of issues."""

    status: IssueStatus | None = None
    priority: Priority | None = None
    project: Project | None = None
    tag: list[Annotated[str, StringConstraints(pattern=TAG_PATTERN)]] = Field(
        default=[], max_length=MAX_TAGS, description="Repeat it to list only issues that have all given tags"
    )
    external_source: ExternalSource | None = Field(
        default=None, description="Source system of imported issues, such as `github:acme/shop`"
    )
    external_id: ExternalId | None = Field(default=None, description="Id in the source system")
    enrichment: JobState | None = Field(default=None, description="State of the newest enrichment run")
    needs_review: bool | None = Field(default=None, description="Whether suggestions await a decision")
    created_after: Timestamp | None = None
    updated_after: Timestamp | None = None
    q: Annotated[SearchText, AfterValidator(_check_search)] | None = Field(
        default=None,
        description='Words or parts of identifiers in title and description, `"a phrase"`, `prefix*`, `or`, '
        "`-excluded`, and the filters `is:open`, `status:`, `priority:`, `tag:`, `project:`, `source:`, "
        "`external:`, `created:>2026-01-01` and `updated:`",
    )
    sort: IssueSort | None = Field(
        default=None, description="Defaults to `relevance` with `q`, otherwise to `-created`"
    )

    total: bool = Field(default=False, description="Count the matching issues, up to 10,000")

    @model_validator(mode="after")
    def _require_search_for_relevance(self) -> Self:
        if self.sort is IssueSort.RELEVANCE and not self.search.terms:
            raise PydanticCustomError(
                "relevance", "Sorting by relevance requires a search. Set q, or use another sort order."
            )
        return self

    @cached_property
    def search(self) -> Search:
        """The terms and filters of `q`."""
        return Search() if self.q is None else read_search(self.q)

    @property
    def order(self) -> IssueSort:
        """The requested sort order, or the default one."""
        return self.sort or (IssueSort.RELEVANCE if self.search.terms else IssueSort.NEWEST)
