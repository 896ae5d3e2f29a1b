"""Imports read dates as they are meant, and reject the others with their rule."""

from typing import Any

import pytest

from tests.integration.test_imports import get_issue
from tests.support.imports import CSV, import_file, ndjson, row, row_counts
from tests.support.processes import Api


def test_import_of_unambiguous_dates_reads_them(api: Api) -> None:
    days = ["15-03-2024", "15-Mar-2024", "2024/03/15", "2024-3-15", "03/15/2024 0:00 AM", "15.03.2024", 1710460800]
    days += ["15-Mar-2024 01:00:00 +0100", "2024/03/15 00:00", 1710460800000]

    operation = import_file(api, ndjson([row(n, title=f"T{n}", created_at=day) for n, day in enumerate(days)]))

    assert row_counts(operation) == {"created": len(days)}, operation["errors"]
    items = api.client.get("/api/v1/issues").json()["items"]
    assert {item["created_at"] for item in items} == {"2024-03-15T00:00:00Z"}


@pytest.mark.parametrize("date", ["03/04/2024 2:15 PM", "03-04-2024", "03/04/24"])
def test_import_of_ambiguous_date_requires_order(date: str, api: Api) -> None:
    body = ndjson([row(1, title="T", created_at=date)])

    operation = import_file(api, body)

    assert "ambiguous. Set date_order" in operation["errors"][0]["detail"]
    assert row_counts(import_file(api, body, date_order="mdy")) == {"created": 1}
    assert get_issue(api, "T")["created_at"].startswith("2024-03-04T")


@pytest.mark.parametrize(("date", "order"), [("13/04/2024", "mdy"), ("04/13/2024", "dmy"), ("13.04.2024", "mdy")])
def test_import_of_date_that_contradicts_order_fails(date: str, order: str, api: Api) -> None:
    operation = import_file(api, ndjson([row(1, created_at=date)]), date_order=order)

    (error,) = operation["errors"]
    assert error["pointer"] == "#/created_at"
    assert f'"{date}" is not valid. It contradicts date_order={order}' in error["detail"]


FAR = ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "1970-01-01T00:00:00+14:00", -1e12, 1e12 * 9]


@pytest.mark.parametrize("value", [*FAR, 10**400, True, [], {}, "12 Mar 2024 09:41 +9959", "12/31/2024 13:00 PM"])
def test_import_of_time_outside_range_fails_in_each_format(value: Any, api: Api) -> None:
    nested = {"title": "T", "external": {"source": "qa:t", "id": "1", "updated_at": value}}
    github = {"number": 1, "title": "T", "url": "https://github.com/a/b/issues/1", "createdAt": value}
    api.post("T")
    own = api.client.get("/api/v1/issues").json()["items"][0]

    operation = import_file(api, ndjson([row(1, created_at=value), nested, github, {**own, "created_at": value}]))

    assert row_counts(operation) == {"failed": 4}
    for error in operation["errors"]:
        assert "is not valid. Use" in error["detail"]


REDMINE = "#,Tracker,Subject,Source,URL,Status\n12,Bug,Login fails,Phone,https://example.org/x,New\n"


def test_import_of_redmine_export_ignores_custom_columns_unless_mapped(api: Api) -> None:
    assert row_counts(import_file(api, REDMINE.encode(), CSV, source="redmine:corp")) == {"created": 1}

    external = get_issue(api, "Login fails")["external"]
    assert (external["source"], external["id"], external["url"]) == ("redmine:corp", "12", None)
    changed = REDMINE.replace("Bug", "Feature").replace("Phone", "Mail")
    assert row_counts(import_file(api, changed.encode(), CSV, source="redmine:corp")) == {"unchanged": 1}
    mapped = import_file(api, REDMINE.encode(), CSV, map=["Source=source", "URL=url"])
    assert row_counts(mapped) == {"created": 1}
    sources = {item["external"]["source"] for item in api.client.get("/api/v1/issues").json()["items"]}
    assert sources == {"redmine:corp", "phone"}


def test_import_with_source_in_upper_case_lowers_it(api: Api) -> None:
    assert row_counts(import_file(api, ndjson([row(1, title="T", source=None)]), source="jira:SHOP")) == {
        "created": 1
    }

    assert get_issue(api, "T")["external"]["source"] == "jira:shop"


def test_import_with_long_url_reports_its_length(api: Api) -> None:
    operation = import_file(api, ndjson([row(1, url=f"https://example.org/{'x' * 2000}")]))

    assert operation["errors"][0]["detail"] == "The text is too long. Use at most 2000 characters."
