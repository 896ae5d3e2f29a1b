"""Imports of the exports of other trackers and of this one: their columns, members, URLs, dates and people."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.test_imports import get_issue
from tests.support.database import Database
from tests.support.imports import CSV, JSON, import_file, ndjson, row, row_counts
from tests.support.processes import Api


@pytest.mark.parametrize(
    "url",
    [
        "http://github.com/Acme/Shop/issues/8",
        "https://www.github.com/acme/shop/issues/8",
        "https://GitHub.com/acme/shop/issues/8#issuecomment-1",
        "https://github.com/acme/shop/issues/8/?x=1",
        "https://api.github.com/repos/acme/shop/issues/8",
    ],
)
def test_import_of_github_issue_with_any_url_finds_repository(url: str, api: Api) -> None:
    assert row_counts(import_file(api, json.dumps([{"number": 8, "title": "T", "url": url}]).encode(), JSON)) == {
        "created": 1
    }
    external = get_issue(api, "T")["external"]
    assert (external["source"], external["id"]) == ("github:acme/shop", "8")


def test_import_of_github_enterprise_issue_requires_source(api: Api) -> None:
    body = json.dumps(
        [{"number": 5, "title": "T", "html_url": "https://git.corp.example/team/app/issues/5"}]
    ).encode()

    assert row_counts(import_file(api, body, JSON)) == {"failed": 1}
    assert row_counts(import_file(api, body, JSON, source="ghe:team/app")) == {"created": 1}


def test_import_of_github_export_keeps_order_and_history(api: Api) -> None:
    rows = [
        {
            "number": 2,
            "title": "newer",
            "state": "closed",
            "created_at": "2024-02-01T00:00:00Z",
            "closed_at": "2024-02-03T00:00:00Z",
            "updated_at": "2024-02-04T00:00:00Z",
            "user": {"login": "alice"},
            "assignees": [{"login": "bob"}],
            "html_url": "https://github.com/acme/ord/issues/2",
        },
        # The format of `gh issue list --json`.
        {
            "number": 1,
            "title": "older",
            "state": "OPEN",
            "createdAt": "2023-01-01T00:00:00Z",
            "author": {"login": "carol", "is_bot": False},
            "assignees": [],
            "url": "https://github.com/acme/ord/issues/1",
        },
    ]
    body = json.dumps(rows).encode()

    assert row_counts(import_file(api, body, JSON)) == {"created": 2}

    newer, older = api.client.get("/api/v1/issues").json()["items"]
    assert (newer["title"], older["title"]) == ("newer", "older")
    assert newer["created_at"] == "2024-02-01T00:00:00Z"
    assert newer["external"] == {
        "source": "github:acme/ord",
        "id": "2",
        "url": "https://github.com/acme/ord/issues/2",
        "created_at": "2024-02-01T00:00:00Z",
        "updated_at": "2024-02-04T00:00:00Z",
        "closed_at": "2024-02-03T00:00:00Z",
        "author": "alice",
        "assignee": "bob",
    }
    assert (older["external"]["author"], older["external"]["assignee"]) == ("carol", None)
    assert row_counts(import_file(api, body, JSON)) == {"unchanged": 2}


def test_import_of_paginated_and_line_wise_json_reads_all(api: Api) -> None:
    first, second = (
        {"number": n, "title": f"T{n}", "html_url": f"https://github.com/a/b/issues/{n}"} for n in (1, 2)
    )

    assert row_counts(import_file(api, f"{json.dumps([first])}\n{json.dumps([second])}".encode(), JSON)) == {
        "created": 2
    }
    assert row_counts(import_file(api, ndjson([first, second]), JSON)) == {"unchanged": 2}


def test_import_of_gitlab_issues_reads_them(api: Api) -> None:
    issue = {
        "id": 76,
        "iid": 12,
        "project_id": 3,
        "title": "Login fails",
        "description": "text",
        "state": "opened",
        "created_at": "2024-03-12T10:41:00.000+01:00",
        "author": {"username": "root", "name": "Root"},
        "assignees": [],
        "web_url": "https://gitlab.com/a/b/-/issues/12",
    }

    assert row_counts(import_file(api, json.dumps([issue]).encode(), JSON)) == {"created": 1}

    found = get_issue(api, "Login fails")
    assert (found["status"], found["created_at"]) == ("open", "2024-03-12T09:41:00Z")
    assert (found["external"]["source"], found["external"]["author"]) == ("gitlab:a/b", "root")


EXPORTS = {
    "gitlab": (
        "Title,Description,Issue ID,URL,State,Author,Author Username,Assignee,Assignee Username,Confidential,Locked,"
        "Due Date,Created At (UTC),Updated At (UTC),Closed At (UTC),Milestone,Weight,Labels,Time Estimate,Time Spent\n"
        "Login fails,text,12,https://gitlab.com/a/b/-/issues/12,Closed,Alice,alice,Bob,bob,No,No,,2024-03-12 09:41:00,"
        '2024-03-13 09:41:00,2024-03-14 09:41:00,,,"bug,web",0,0\n',
        ("gitlab:a/b", "12", "closed", "medium", "2024-03-14T09:41:00Z"),
    ),
    "jira": (
        "Summary,Issue key,Issue id,Issue Type,Status,Project key,Project name,Priority,Resolution,Assignee,Reporter,"
        "Creator,Created,Updated,Resolved,Labels,Labels,Comment,Comment,Description\n"
        "Login fails,ABC-1,10001,Bug,Done,ABC,Shop,Highest,Fixed,Bob,Alice,Alice,12/Mar/24 9:41 AM,13/Mar/24 9:41 AM,"
        "14/Mar/24 9:41 AM,web,ios,a,b,text\n",
        ("jira:abc", "ABC-1", "closed", "critical", "2024-03-14T09:41:00Z"),
    ),
    "linear": (
        "ID,Team,Title,Description,Status,Estimate,Priority,Project ID,Project,Creator,Assignee,Labels,Cycle Number,"
        "Cycle Name,Cycle Start,Cycle End,Created,Updated,Started,Triaged,Completed,Canceled,Archived,Due Date\n"
        "ENG-12,Engineering,Login fails,text,In Review,3,Urgent,,Shop,Alice,Bob,bug,,,,,"
        "Tue Mar 12 2024 09:41:00 GMT+0000 (GMT),2024-03-13T09:41:00.000Z,,,,2024-03-14T09:41:00.000Z,,\n",
        ("linear:eng", "ENG-12", "in_progress", "critical", "2024-03-14T09:41:00Z"),
    ),
    "redmine": (
        "#,Project,Tracker,Parent task,Status,Priority,Subject,Author,Assignee,Updated,Category,Target version,"
        "Start date,Due date,Estimated time,Spent time,% Done,Created,Closed,Related issues,Private,Description\n"
        "42,My Shop,Bug,,Feedback,Immediate,Login fails,Alice,Bob,03/13/2024 09:41 AM,,,,,,,0,03/12/2024 09:41 AM,"
        "03/14/2024 09:41 AM,,No,text\n",
        ("redmine", "42", "in_progress", "critical", "2024-03-14T09:41:00Z"),
    ),
}


@pytest.mark.parametrize("export", EXPORTS)
def test_import_of_known_export_maps_its_columns(export: str, api: Api) -> None:
    text, (source, external_id, status, priority, closed_at) = EXPORTS[export]

    operation = import_file(api, text.encode("utf-8-sig"), CSV, date_order="mdy")

    assert (row_counts(operation), operation["export"]) == ({"created": 1}, export), operation["errors"]
    found = get_issue(api, "Login fails")
    assert (found["status"], found["priority"], found["description"]) == (status, priority, "text")
    assert found["created_at"] == "2024-03-12T09:41:00Z"
    external = found["external"]
    assert (external["source"], external["id"], external["closed_at"]) == (source, external_id, closed_at)
    assert (external["author"], external["assignee"]) == ("Alice", "Bob")


def test_import_of_ambiguous_and_future_dates_fails_without_date_order(api: Api) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=5)).isoformat()
    body = f"title,external_id,source,created\nA,1,qa:t,03/04/2024 10:00\nB,2,qa:t,{tomorrow}\n".encode()

    details = [error["detail"] for error in import_file(api, body, CSV)["errors"]]
    assert "ambiguous. Set date_order" in details[0]
    assert "between 1970 and today" in details[1]

    assert row_counts(import_file(api, body, CSV, date_order="dmy")) == {"created": 1, "failed": 1}
    assert get_issue(api, "A")["created_at"] == "2024-04-03T10:00:00Z"


def test_import_of_own_export_into_same_installation_changes_nothing(api: Api, database: Database) -> None:
    database.pause("queue", "issues")  # a published job would change the issues
    api.post("Posted here")
    import_file(api, ndjson([row(1, author="alice", created_at="2024-01-02")]))
    exported = api.client.get("/api/v1/issues").json()["items"]

    assert row_counts(import_file(api, json.dumps(exported).encode(), JSON)) == {"unchanged": 2}
    assert api.client.get("/api/v1/issues").json()["items"] == exported


def test_import_of_own_export_elsewhere_is_equal_and_repeatable(api: Api, database: Database) -> None:
    api.post("Posted here")
    import_file(api, ndjson([row(1, author="alice", created_at="2024-01-02")]))
    exported = api.client.get("/api/v1/issues").json()["items"]
    database.query("TRUNCATE issue CASCADE")
    body = json.dumps(exported).encode()

    assert row_counts(import_file(api, body, JSON)) == {"created": 2}
    assert row_counts(import_file(api, body, JSON)) == {"unchanged": 2}

    imported = api.client.get("/api/v1/issues").json()["items"]
    kept = ("title", "description", "status", "priority", "project", "created_at")
    assert [[item[name] for name in kept] for item in imported] == [
        [item[name] for name in kept] for item in exported
    ]
    by_title = {item["title"]: item["external"] for item in imported}
    assert by_title["Posted here"]["source"] == "issuetracker"
    assert by_title[row(1)["title"]] == exported[1]["external"]
    again = json.dumps(imported).encode()
    assert row_counts(import_file(api, again, JSON)) == {"unchanged": 2}
