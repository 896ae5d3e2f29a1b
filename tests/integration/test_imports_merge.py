"""Repeated imports find the issue of each row, and change only what the row has."""

import json
from typing import Any

import pytest

from tests.integration.test_imports import get_issue
from tests.support.imports import CSV, JSON, NDJSON, import_file, ndjson, row, row_counts
from tests.support.processes import Api

GITLAB_HEADER = "Title,Description,Issue ID,URL,State,Author,Assignee,Created At (UTC),Closed At (UTC)\n"


def gitlab_csv(title: str, url: str, state: str = "Open", assignee: str = "", closed_at: str = "") -> bytes:
    return (
        f"{GITLAB_HEADER}{title},text,3,{url},{state},Alice,{assignee},2024-03-12 09:41:00,{closed_at}\n".encode()
    )


def github(**members: Any) -> bytes:
    url = "https://github.com/acme/shop/issues/7"
    return json.dumps(
        [{"number": 7, "title": "Login fails", "state": "open", "html_url": url, **members}]
    ).encode()


def test_import_of_two_projects_of_a_gitlab_server_keeps_both(api: Api) -> None:
    for name in ("one", "two"):
        body = gitlab_csv(name, f"https://gitlab.corp.example:8443/A/{name}/-/issues/3")
        assert row_counts(import_file(api, body, CSV)) == {"created": 1}

    external = get_issue(api, "one")["external"]
    assert (external["source"], external["id"]) == ("gitlab:gitlab.corp.example:8443/a/one", "3")
    body = json.dumps(
        [{"iid": 3, "title": "one", "web_url": "https://gitlab.corp.example:8443/a/one/-/issues/3"}]
    ).encode()
    assert row_counts(import_file(api, body, JSON)) == {"unchanged": 1}


@pytest.mark.parametrize(
    "url", ["", "https://gitlab.corp.example/a/one/-/issues/4", "https://gitlab.corp.example/3"]
)
def test_import_of_gitlab_export_without_url_of_issue_requires_source(url: str, api: Api) -> None:
    body = gitlab_csv("T", url)

    operation = import_file(api, body, CSV)

    assert row_counts(operation) == {"failed": 1}
    assert "query parameter source" in operation["errors"][0]["detail"]
    assert row_counts(import_file(api, body, CSV, source="gitlab:corp")) == {"created": 1}
    assert get_issue(api, "T")["external"]["source"] == "gitlab:corp"


@pytest.mark.parametrize("number", [42, 9])
def test_import_of_row_with_link_elsewhere_keeps_source_of_request(number: int, api: Api) -> None:
    link = f"https://github.com/acme/shop/issues/{number}"
    body = f"title,external_id,url\nT,42,{link}\n".encode()

    assert row_counts(import_file(api, body, CSV, source="jira:shop")) == {"created": 1}

    external = get_issue(api, "T")["external"]
    assert (external["source"], external["id"], external["url"]) == ("jira:shop", "42", link)


def test_import_of_row_with_link_of_another_issue_requires_source(api: Api) -> None:
    rows = [row(1, source=None, url=f"https://github.com/acme/shop/issues/{number}") for number in (1, 2)]

    operation = import_file(api, ndjson(rows))

    assert (row_counts(operation), operation["errors"][0]["row"]) == ({"created": 1, "failed": 1}, 2)
    assert get_issue(api, rows[0]["title"])["external"]["source"] == "github:acme/shop"


def test_import_without_members_keeps_their_values(api: Api) -> None:
    full = github(body="text", assignees=[{"login": "bob"}, {"login": "eve"}], user={"login": "alice"})
    import_file(api, full, JSON)

    assert row_counts(import_file(api, github(), JSON)) == {"unchanged": 1}

    found = get_issue(api, "Login fails")
    assert (found["description"], found["external"]["author"], found["external"]["assignee"]) == (
        *("text", "alice", "bob"),
    )
    assert row_counts(import_file(api, github(body=None), JSON)) == {"updated": 1}
    assert get_issue(api, "Login fails")["description"] == ""
    gitlab: dict[str, Any] = {"iid": 1, "title": "T", "web_url": "https://gitlab.com/a/b/-/issues/1"}
    import_file(api, json.dumps([{**gitlab, "description": "text"}]).encode(), JSON)
    assert row_counts(import_file(api, json.dumps([gitlab]).encode(), JSON)) == {"unchanged": 1}


def test_import_of_reopened_and_unassigned_issue_clears_details(api: Api) -> None:
    url = "https://gitlab.com/a/b/-/issues/3"
    import_file(api, gitlab_csv("csv", url, "Closed", "Bob", "2024-03-14 09:41:00"), CSV)
    import_file(api, github(state="closed", closed_at="2024-03-14", assignee={"login": "bob"}), JSON)
    nested = {"title": "nested", "external": {"source": "qa:m", "id": "1", "closed_at": "2024-03-14"}}
    import_file(api, ndjson([row(1, closed_at="2024-03-14", assignee="bob"), nested]), NDJSON)

    assert row_counts(import_file(api, gitlab_csv("csv", url), CSV)) == {"updated": 1}
    assert row_counts(import_file(api, github(closed_at=None, assignee=None, assignees=[]), JSON)) == {
        "updated": 1
    }
    nested["external"] = {"source": "qa:m", "id": "1", "closed_at": None}
    assert row_counts(import_file(api, ndjson([row(1, closed_at=None, assignee=None), nested]))) == {"updated": 2}

    for title in ("csv", "Login fails", row(1)["title"], "nested"):
        external = get_issue(api, title)["external"]
        assert (external["closed_at"], external["assignee"]) == (None, None)
    assert get_issue(api, "csv")["external"]["author"] == "Alice"
    assert row_counts(import_file(api, ndjson([row(1, closed_at=None), nested]))) == {"unchanged": 2}


TICKET = {"number": 12, "title": "x", "status": "closed", "priority": "high", "html_url": "https://jira.corp/x"}


@pytest.mark.parametrize(
    "members",
    [{}, {"status": None}, {"description": "text"}, {"title": None}],
    ids=["ticket", "null", "description", "title"],
)
def test_import_of_row_with_number_of_another_tracker_names_unknown_members(
    members: dict[str, Any], api: Api
) -> None:
    operation = import_file(api, json.dumps([{**TICKET, **members}]).encode(), JSON, source="jira:shop")

    assert row_counts(operation) == {"failed": 1}
    assert "#/number" in [error["pointer"] for error in operation["errors"]]


def test_import_of_mapped_row_with_number_reads_all_members(api: Api) -> None:
    mapping = ["number=external_id", "html_url=url"]

    operation = import_file(api, json.dumps([TICKET]).encode(), JSON, source="jira:shop", map=mapping)

    assert row_counts(operation) == {"created": 1}, operation["errors"]
    found = get_issue(api, "x")
    assert (found["status"], found["priority"], found["external"]["id"]) == ("closed", "high", "12")
    operation = import_file(api, json.dumps([{**TICKET, "url": None}]).encode(), JSON, map=mapping)
    assert "Several members are url" in operation["errors"][0]["detail"]
    assert row_counts(import_file(api, github(labels=["bug"]), JSON, map="labels=")) == {"created": 1}
