"""Rows of other trackers' APIs and of this one: GitHub, GitLab, and `issuetracker issues list --json`.

Sources: https://docs.github.com/en/rest/issues/issues, https://cli.github.com/manual/gh_issue_list (`--json`),
https://docs.gitlab.com/api/issues/.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from api.imports import fields
from api.imports.links import read_link
from api.imports.rows import InvalidRow, Record, RowProblem, RowRules, make_external
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
    assignees: list[fields.Person] | None = None

    def record(self, rules: RowRules) -> Record | None:
        """Return the issue, or None for a pull request; raise InvalidRow."""
        if self.pull_request is not None:
            return None
        url = self.html_url or self.url
        link = read_link(url)
        source = link.source if link else rules.source
        if source is None:
            detail = "The row has no URL at github.com. Add it, or set the query parameter source."
            raise InvalidRow(RowProblem("#/html_url", "missing", detail))
        external = make_external(
            *(source, str(self.number), link.url if link else url, "#/html_url"),
            created_at=self.created_at or self.createdAt,
            updated_at=self.updated_at or self.updatedAt,
            closed_at=self.closed_at or self.closedAt,
            author=self.user or self.author,
            assignee=self.assignee or next(iter(self.assignees or ()), None),
        )
        return _make_record(external, self.title, self.body, self.state)


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
    assignees: list[fields.Person] | None = None

    def record(self, rules: RowRules) -> Record:
        """Return the issue; raise InvalidRow."""
        link = read_link(self.web_url)
        source = link.source if link else rules.source
        if source is None:
            detail = "The row has no URL at gitlab.com. Add it, or set the query parameter source."
            raise InvalidRow(RowProblem("#/web_url", "missing", detail))
        external = make_external(
            *(source, str(self.iid), self.web_url, "#/web_url"),
            created_at=self.created_at,
            updated_at=self.updated_at,
            closed_at=self.closed_at,
            author=self.author,
            assignee=self.assignee or next(iter(self.assignees or ()), None),
        )
        return _make_record(external, self.title, self.description, self.state)


class OwnIssue(BaseModel):
    """An issue of this program's API. An issue that no other system knows is identified by its own id."""

    id: UUID
    title: Title
    description: fields.Text = ""
    status: IssueStatus
    priority: Priority
    project: Project
    external: ExternalRecord | None
    created_at: datetime
    updated_at: datetime

    def record(self, _: RowRules) -> Record:
        """Return the issue."""
        external = self.external or ExternalRecord(source=OWN_SOURCE, id=str(self.id), created_at=self.created_at)
        return Record(
            *(external, self.title, self.description, self.status, self.priority, self.project),
            created_at=self.created_at,
        )


def _make_record(
    external: ExternalRecord, title: str, description: str | None, status: IssueStatus | None
) -> Record:
    return Record(external, title, description or "", status, None, None, created_at=external.created_at)
