"""The columns of known exports, and the common names of columns.

Sources: GitLab https://docs.gitlab.com/user/project/issues/csv_export/#format; Jira's "Export CSV (all fields)"
https://support.atlassian.com/jira-software-cloud/docs/export-work-items/; Linear
https://linear.app/docs/exporting-data; Redmine `app/helpers/queries_helper.rb` (`query_to_csv`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

FIELDS = (
    *("title", "description", "status", "priority", "project", "source", "external_id", "url"),
    *("created_at", "updated_at", "closed_at", "author", "assignee"),
)
"""The fields of an issue that a column can contain."""

_NOISE = re.compile(r"[\s_\-]+|\(utc\)")


def fold(name: str) -> str:
    """Return the name of a column, or a value, without case, blanks, hyphens and underscores."""
    return _NOISE.sub(" ", name.casefold()).strip()


GITLAB = "gitlab"


@dataclass(frozen=True, slots=True)
class Export:
    """A known export. Its other columns are ignored."""

    name: str
    signature: frozenset[str]
    """The columns that identify it."""
    fields: Mapping[str, str]
    """Fields by column. Of several columns for one field, the first with a value is used."""


_DATES = {"created": "created_at", "updated": "updated_at"}
_COMMON = {"description": "description", "status": "status", "priority": "priority", "assignee": "assignee"}
EXPORTS = (
    Export(
        GITLAB,
        frozenset({"title", "issue id", "url", "state"}),
        {
            "title": "title",
            "description": "description",
            "issue id": "external_id",
            "url": "url",
            "state": "status",
            "author": "author",
            "assignee": "assignee",
            "created at": "created_at",
            "updated at": "updated_at",
            "closed at": "closed_at",
        },
    ),
    Export(
        "jira",
        frozenset({"summary", "issue key"}),
        {
            "summary": "title",
            "issue key": "external_id",
            "reporter": "author",
            "creator": "author",
            **_COMMON,
            **_DATES,
            "resolved": "closed_at",
        },
    ),
    Export(
        "linear",
        frozenset({"id", "team", "title", "status"}),
        {
            "id": "external_id",
            "title": "title",
            "creator": "author",
            **_COMMON,
            **_DATES,
            "completed": "closed_at",
            "canceled": "closed_at",
        },
    ),
    Export(
        "redmine",
        frozenset({"#", "subject", "tracker"}),
        {
            "#": "external_id",
            "subject": "title",
            "author": "author",
            "assigned to": "assignee",
            **_COMMON,
            **_DATES,
            "closed": "closed_at",
        },
    ),
)

_SYNONYMS = {
    "title": "summary, subject, name, headline, issue title, issue",
    "description": "body, details, text, content, issue description, notes",
    "status": "state, issue status, stage",
    "priority": "prio, urgency, severity, importance",
    "project": "project name",
    "source": "external source",
    "external_id": "external id, id, key, issue key, issue id, issue number, number, no, nr, #, iid, ticket, "
    "ticket id, ticket number, bug id, identifier",
    "url": "link, web url, html url, issue url",
    "created_at": "created at, created, created on, created date, creation date, date created, opened, "
    "opened at, reported",
    "updated_at": "updated at, updated, updated on, updated date, last updated, modified, last modified, changed",
    "closed_at": "closed at, closed, closed on, closed date, resolved, resolved at, completed, completed at",
    "author": "reporter, creator, created by, reported by, opened by, submitter",
    "assignee": "assigned to, owner, assigned, assignees",
}
ALIASES = {name: field for field, names in _SYNONYMS.items() for name in names.split(", ")}
"""Fields by the common names of columns."""


def find_export(names: frozenset[str]) -> Export | None:
    """Return the export with these columns, as returned by `fold`."""
    return next((export for export in EXPORTS if export.signature <= names), None)
