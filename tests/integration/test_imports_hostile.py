"""Files that are made to need much time or memory get an error, and other requests are answered meanwhile."""

import gzip
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psutil
import pytest

from tests.integration.test_imports import get_issue
from tests.integration.test_issues_api import assert_problem
from tests.support.imports import CSV, NDJSON, import_file, ndjson, post_import, row, row_counts
from tests.support.processes import Api
from tests.support.workbooks import XLSX, workbook

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


LARGE = "The workbook is too large. Delete its blank rows and columns, or save it as CSV."


@pytest.mark.parametrize("last", ["XFD800", "XFD1048576", "F1048576"])
def test_import_of_workbook_with_one_distant_value_is_rejected(last: str, api: Api) -> None:
    """The library makes a cell for each place between the first value and the last."""
    body = workbook({"A": [["title", "external_id", "source"], ["T", 1, "qa:w"]]}, {last: "x"})

    assert assert_problem(post_import(api, body, XLSX), 422)["detail"] == LARGE


def test_import_of_workbook_with_distant_last_row_omits_blank_rows(api: Api) -> None:
    body = workbook({"A": [["title", "external_id", "source"], ["T", 1, "qa:w"]]}, {"A1048576": "U"})

    operation = import_file(api, body, XLSX)

    assert (operation["total"], row_counts(operation)) == (2, {"created": 1, "failed": 1})
    assert operation["errors"][0]["line"] == 1_048_576


def test_import_of_workbook_with_100000_rows_reads_them(api: Api) -> None:
    rows: list[list[str | int]] = [["title", "external_id", "source", "description", "status", "priority"]]
    rows += [[f"Title {n}", n, "qa:w", f"Description of issue {n}", "open", "high"] for n in range(100_000)]

    response = post_import(api, workbook({"A": rows}), XLSX, dry_run="true")

    assert response.status_code == 202
    assert response.json()["total"] == 100_000
    assert api.client.delete(response.headers["location"]).status_code in {200, 202}


def test_import_of_workbooks_at_once_reads_one_at_a_time(api: Api) -> None:
    rows: list[list[str | int]] = [["title", "external_id", "source"]]
    rows += [[f"T{n}", n, "qa:w"] for n in range(20_000)]
    body = workbook({"A": rows})
    counts: list[int] = []

    with ThreadPoolExecutor(4) as pool:
        responses = [pool.submit(post_import, api, body, XLSX, dry_run="true") for _ in range(4)]
        while not all(response.done() for response in responses):
            counts.append(count_readers(api))

    assert [response.result().status_code for response in responses] == [202] * 4
    assert max(counts) == 1


def count_readers(api: Api) -> int:
    """Return the number of processes of the API that read a workbook."""
    count = 0
    for child in psutil.Process(api.process.pid).children():
        with suppress(psutil.Error):
            count += any("workbook_process" in word for word in child.cmdline())
    return count


def test_import_of_workbook_with_large_numbers_keeps_digits_or_fails(api: Api) -> None:
    numbers = [2**53, 1234567890123456, 10**400]
    rows: list[list[str | int]] = [["title", "external_id", "source"]]
    rows += [[f"T{place}", number, "qa:w"] for place, number in enumerate(numbers)]

    operation = import_file(api, workbook({"A": rows}), XLSX)

    assert row_counts(operation) == {"created": 2, "failed": 1}
    assert operation["errors"][0]["detail"] == "A number of the row is too large. Write it as text."
    assert get_issue(api, "T0")["external"]["id"] == str(2**53)
    assert get_issue(api, "T1")["external"]["id"] == "1234567890123456"


def test_import_with_500000_columns_and_mappings_is_rejected(api: Api) -> None:
    body = b"a," * 500_000 + b"\n"

    response = post_import(api, body, CSV, map=[f"m{n}=" for n in range(60)])

    assert "columns. Use at most 1000." in str(assert_problem(response, 422)["detail"])
