"""Files that are made to need much time or memory get an error, and other requests are answered meanwhile."""

import gzip
from typing import Any

import pytest

from tests.integration.test_issues_api import assert_problem
from tests.support.imports import NDJSON, import_file, ndjson, post_import, row, row_counts
from tests.support.processes import Api

LONG = 1_000_000
FIELDS = (
    *("title", "description", "status", "priority", "project", "source", "external_id", "url"),
    *("created_at", "updated_at", "closed_at", "author", "assignee"),
)
GITHUB = {"number": 1, "title": "T", "html_url": "https://github.com/acme/shop/issues/1"}
GITHUB_FIELDS = ("body", "state", "html_url", "url", "created_at", "closedAt", "user", "assignee")


TEXTS = {
    "spaces": f"a{' ' * LONG}b",
    "parentheses": "(" * LONG,
    "digits": "1" * LONG,
    "zones": "GMT" * (LONG // 3),
    "url": "https://x.org/issues/1" * (LONG // 22),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_import_with_megabyte_in_any_field_fails_each_row(text: str, api: Api) -> None:
    rows: list[Any] = [row(number, **{field: text}) for number, field in enumerate(FIELDS, start=1)]
    rows += [{"title": "T", "external": {"source": "qa:h", "id": "1", "created_at": text}}]

    operation = import_file(api, ndjson(rows))

    failed = [error["row"] for error in operation["errors"]]
    assert (row_counts(operation), failed) == ({"failed": len(rows)}, list(range(1, len(rows) + 1)))
    operation = import_file(api, ndjson([{**GITHUB, field: text} for field in GITHUB_FIELDS]))
    assert row_counts(operation) == {"failed": len(GITHUB_FIELDS)}


def test_import_with_megabyte_of_spaces_in_any_field_is_blank_or_fails(api: Api) -> None:
    rows = [row(number, **{field: " " * LONG}) for number, field in enumerate(FIELDS, start=1)]

    operation = import_file(api, ndjson(rows))

    required = [error["pointer"] for error in operation["errors"]]
    assert required == ["#/title", "#/description", "#/project", "#/source", "#/external_id"]
    assert operation["created"] == len(FIELDS) - len(required)


def test_import_of_gzip_file_with_a_million_members_is_rejected(api: Api) -> None:
    member = gzip.compress(b"")

    problem = assert_problem(post_import(api, member * (20_000_000 // len(member)), "application/gzip"), 422)

    assert problem["detail"] == "The gzip file has more than 1000 members. Compress it again."
    body = member * 999 + gzip.compress(ndjson([row(1)]))
    assert row_counts(import_file(api, body, NDJSON)) == {"created": 1}
