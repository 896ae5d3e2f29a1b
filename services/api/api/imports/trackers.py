"""Rows of other trackers' APIs and of this one: GitHub, GitLab, and `issuetracker issues list --json`.

Sources: https://docs.github.com/en/rest/issues/issues, https://cli.github.com/manual/gh_issue_list (`--json`),
https://docs.gitlab.com/api/issues/.
"""

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from api.imports import fields
from api.imports.links import read_gitlab_link, read_link
from api.imports.rows import InvalidRow, Record, RowExternal, RowProblem, RowRules, find_source, make_external
from api.issues.schemas import ExternalRecord, Project, Title
from contracts.limits import OWN_SOURCE
from contracts.states import IssueStatus, Priority

Number = Annotated[int, Field(ge=1)]


class GithubIssue(BaseModel):
    """An issue of GitHub's REST API, or of `gh issue list --json`, whose names are in camel case."""

    number: Number
    title: Title
    body: fields.Text | None = None
    state: fields.Status = None
    html_url: fields.Url = None
    url: fields.Url = None
    pull_request: Any = None
    created_at: fields.Time = None
    updated_at: fields.Time = None
    closed_at: fields.Time = None
    createdAt: fields.Time = None  # noqa: N815 - gh's name
    updatedAt: fields.Time = None  # noqa: N815
    closedAt: fields.Time = None  # noqa: N815
    user: fields.Person = None
    author: fields.Person = None
    assignee: fields.Person = None
    assignees: fields.FirstPerson = None

    def record(self, rules: RowRules) -> Record | None:
        """Return the issue, or None for a pull request; raise InvalidRow."""
        if self.pull_request is not None:
            return None
        url = self.html_url or self.url
        link = read_link(url)
        source = find_source(link, str(self.number), rules.source)
        if source is None:
            detail = "The row has no URL of this issue at github.com. Add it, or set the query parameter source."
            raise InvalidRow(RowProblem("#/html_url", "missing", detail))
        details = _find_details(
            self,
            created_at=("created_at", "createdAt"),
            updated_at=("updated_at", "updatedAt"),
            closed_at=("closed_at", "closedAt"),
            author=("user", "author"),
            assignee=("assignee", "assignees"),
        )
        external = make_external(source, str(self.number), link.url if link else url, "#/html_url", **details)
        return _make_record(external, self, "body")


class GitlabIssue(BaseModel):
    """An issue of GitLab's REST API."""

    iid: Number
    title: Title
    description: fields.Text | None = None
    state: fields.Status = None
    web_url: fields.Url = None
    created_at: fields.Time = None
    updated_at: fields.Time = None
    closed_at: fields.Time = None
    author: fields.Person = None
    assignee: fields.Person = None
    assignees: fields.FirstPerson = None

    def record(self, rules: RowRules) -> Record:
        """Return the issue; raise InvalidRow."""
        source = find_source(read_gitlab_link(self.web_url), str(self.iid), rules.source)
        if source is None:
            detail = "The row has no URL of this issue. Add it, or set the query parameter source."
            raise InvalidRow(RowProblem("#/web_url", "missing", detail))
        details = _find_details(
            self,
            **{name: (name,) for name in ("created_at", "updated_at", "closed_at", "author")},
            assignee=("assignee", "assignees"),
        )
        external = make_external(source, str(self.iid), self.web_url, "#/web_url", **details)
        return _make_record(external, self, "description")


class OwnIssue(BaseModel):
    """An issue of this program's API. An issue that no other system knows is identified by its own id."""

    id: UUID
    title: Title
    description: fields.Text | None = None
    status: IssueStatus
    priority: Priority
    project: Project
    external: RowExternal | None
    created_at: fields.RequiredTime
    updated_at: fields.RequiredTime

    def record(self, _: RowRules) -> Record:
        """Return the issue."""
        external = self.external or ExternalRecord(source=OWN_SOURCE, id=str(self.id), created_at=self.created_at)
        return Record(
            *(external, self.title, self.description, self.status, self.priority, self.project),
            created_at=self.created_at,
        )


def _find_details(issue: BaseModel, **members: tuple[str, ...]) -> dict[str, Any]:
    """Return the details that a row has, by name: the first member with a value."""
    return {
        name: next((value for each in alternatives if (value := getattr(issue, each)) is not None), None)
        for name, alternatives in members.items()
        if issue.model_fields_set.intersection(alternatives)
    }


def _make_record(external: ExternalRecord, issue: GithubIssue | GitlabIssue, text: str) -> Record:
    """Return the issue with the description in the member `text`: null clears it, and a missing one keeps it."""
    description = getattr(issue, text) or "" if text in issue.model_fields_set else None
    return Record(external, issue.title, description, issue.state, None, None, created_at=external.created_at)
