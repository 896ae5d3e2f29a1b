"""Issue lists: filters, search, sort orders and stable pages."""

from itertools import chain
from typing import Any

import pytest

from contracts.ids import new_id
from tests.integration.test_issues_api import assert_problem
from tests.support.database import Database
from tests.support.processes import Api
from tests.support.waiting import wait_until

PRIORITIES = ("low", "medium", "high", "critical")


def titles(api: Api, **query: Any) -> list[str]:
    response = api.client.get("/api/v1/issues", params=query)
    assert response.status_code == 200, response.text
    return [issue["title"] for issue in response.json()["items"]]


def pages(api: Api, **query: Any) -> list[list[str]]:
    """Return the titles of each page, following the `Link` headers."""
    found, url = [], str(api.client.build_request("GET", "/api/v1/issues", params=query).url)
    while url:
        page = api.client.get(url)
        assert page.status_code == 200, page.text
        found.append([issue["title"] for issue in page.json()["items"]])
        url = page.links["next"]["url"] if "next" in page.links else ""
    return found


@pytest.fixture
def api_with_issues(api: Api, database: Database) -> Api:
    """Return an API with twelve issues, several of which share times and priorities."""
    for number in range(12):
        database.query(
            "INSERT INTO issue (id, title, description, priority, status, tags, created_at, updated_at) "
            "VALUES (%s, %s, %s, %s, %s, %s, timestamptz '2026-01-01' + %s * interval '1 day', "
            "timestamptz '2026-06-01' - %s * interval '1 day')",
            new_id(),
            f"Issue {number:02}",
            "The login fails. " * (number % 4),
            PRIORITIES[number % 4],
            "closed" if number % 5 == 0 else "open",
            ["bug", "bug,frontend", "", "feature"][number % 4],
            number // 3,
            number // 2,
        )
    return api


FILTERED: list[tuple[dict[str, Any], list[int]]] = [
    ({"status": "closed"}, [10, 5, 0]),
    ({"priority": "critical"}, [11, 7, 3]),
    ({"tag": "bug"}, [9, 8, 5, 4, 1, 0]),
    ({"tag": ["bug", "frontend"]}, [9, 5, 1]),
    ({"tag": "frontend", "status": "closed"}, [5]),
    ({"created_after": "2026-01-03T00:00:00Z"}, [11, 10, 9]),
    ({"created_after": "2026-01-03T01:00:00+02:00"}, [11, 10, 9, 8, 7, 6]),
    ({"updated_after": "2026-05-30T12:00:00Z"}, [3, 2, 1, 0]),
    ({"project": "unknown"}, []),
    ({"enrichment": "dead"}, []),
    ({"limit": 2}, [11, 10]),
    ({"created_after": "0001-01-01T00:00:00+14:00", "limit": 1}, [11]),
    ({"created_after": "9999-12-31T23:59:59-14:00"}, []),
]


def test_list_with_filters_returns_matching_issues(api_with_issues: Api) -> None:
    for query, numbers in FILTERED:
        assert titles(api_with_issues, **query) == [f"Issue {number:02}" for number in numbers], query


def test_list_filtered_by_enrichment_uses_newest_run(api: Api, database: Database) -> None:
    issue_id = api.post("Found").json()["id"]
    api.post("Other")
    wait_until(lambda: database.states() == {"queued": 2}, "the jobs to be queued")
    database.query("UPDATE job SET state = 'skipped', lease_until = NULL")
    for state in ("pending", "queued", "running", "retrying", "succeeded", "dead", "cancelled"):
        for newest in (state, "skipped"):
            database.query(
                "INSERT INTO job (id, task, queue, message, issue_id, state, run_at, lease_until) VALUES "
                "(%s, 'app.tasks.issues.enrich_issue', 'issues', '{}', %s, %s, now() + interval '1 hour', "
                "CASE WHEN %s IN ('queued', 'running') THEN now() + interval '1 hour' END)",
                new_id(),
                issue_id,
                newest,
                newest,
            )
            assert titles(api, enrichment=state) == (["Found"] if newest == state else []), state


@pytest.mark.parametrize("sort", ["created", "-created", "updated", "-updated", "priority", "-priority"])
def test_pages_of_sorted_list_contain_each_issue_once_in_order(sort: str, api_with_issues: Api) -> None:
    items = api_with_issues.client.get("/api/v1/issues", params={"sort": sort}).json()["items"]
    key_name = sort.removeprefix("-")
    keys = [
        (PRIORITIES.index(issue["priority"]), issue["created_at"])
        if key_name == "priority"
        else issue[f"{key_name}_at"]
        for issue in items
    ]
    assert keys == sorted(keys, reverse=sort.startswith("-"))
    assert len({issue["id"] for issue in items}) == 12

    for limit in (1, 5, 11, 12):
        found = pages(api_with_issues, sort=sort, limit=limit)
        assert list(chain.from_iterable(found)) == [issue["title"] for issue in items]
        assert len(found) == -(-12 // limit), "the last page must have no next link"


def test_pages_of_search_contain_each_match_once_best_first(api_with_issues: Api) -> None:
    ranked = titles(api_with_issues, q="login fails")

    assert sorted(ranked) == [f"Issue {number:02}" for number in range(12) if number % 4]
    assert list(chain.from_iterable(pages(api_with_issues, q="login fails", limit=2))) == ranked
    assert list(chain.from_iterable(pages(api_with_issues, q="login", sort="created", limit=4))) == sorted(ranked)
    assert list(chain.from_iterable(pages(api_with_issues, q="login fails", status="open", limit=2))) == [
        title for title in ranked if int(title[-2:]) % 5
    ]


def test_pages_of_search_with_new_match_do_not_shift(api_with_issues: Api) -> None:
    before = titles(api_with_issues, q="login")
    first = api_with_issues.client.get("/api/v1/issues", params={"q": "login", "limit": 4}).json()

    api_with_issues.post("login login login")
    rest = api_with_issues.client.get(
        "/api/v1/issues", params={"q": "login", "limit": 100, "cursor": first["next_cursor"]}
    ).json()

    assert [issue["title"] for issue in first["items"] + rest["items"]] == before


def test_search_finds_new_and_changed_issue_immediately(api: Api) -> None:
    issue = api.post("Exporting reports fails", description="See `java.lang.NullPointerException`").json()
    assert titles(api, q="export") == ["Exporting reports fails"]
    assert titles(api, q="java.lang.NullPointerException") == ["Exporting reports fails"]

    api.client.patch(f"/api/v1/issues/{issue['id']}", json={"title": "Printing fails"})

    assert titles(api, q="export") == []
    assert titles(api, q="print") == ["Printing fails"]


def test_search_ranks_title_above_description(api: Api) -> None:
    api.post("Something else", description="The printer, and much else that is said beside it")
    api.post("The printer")
    api.post("Something else again", description="The printer, and much else that is said beside it")

    assert titles(api, q="printer")[0] == "The printer"


SEARCHES: list[tuple[str, set[str]]] = [
    ('"printing fails"', {"Printing fails"}),
    ("fails -printing", {"Saving fails"}),
    ("printing or saving", {"Printing fails", "Saving fails", "Fails when printing"}),
    ("the", set()),
    ("!!! & | ( <->", set()),
    ("'; DROP TABLE issue; --", set()),
    ("不能", set()),
]


def test_search_with_web_syntax_finds_expected_issues(api: Api) -> None:
    for title in ("Printing fails", "Saving fails", "Fails when printing"):
        api.post(title)

    for q, found in SEARCHES:
        assert set(titles(api, q=q)) == found, q


def test_issue_with_long_text_is_stored_and_found(api: Api) -> None:
    for description in ("x" * 65_536, " ".join(str(number) for number in range(11_000)), "\U0001f41e " * 30_000):
        assert api.post("Long", description=description).status_code == 201
    assert len(titles(api, q="long")) == 3


def test_cursor_with_other_query_is_rejected_with_422(api_with_issues: Api) -> None:
    query: dict[str, Any] = {"status": "open", "sort": "-updated", "limit": 2}
    cursor = api_with_issues.client.get("/api/v1/issues", params=query).json()["next_cursor"]
    assert (
        api_with_issues.client.get("/api/v1/issues", params={**query, "limit": 7, "cursor": cursor}).status_code
        == 200
    )

    for other in ({"status": "closed"}, {"sort": "updated"}, {"q": "login"}, {"tag": "bug"}):
        response = api_with_issues.client.get("/api/v1/issues", params={**query, **other, "cursor": cursor})
        problem = assert_problem(response, 422)
        assert isinstance(problem["errors"], list)
        assert problem["errors"][0]["pointer"] == "query.cursor"
        assert problem["errors"][0]["rule"] == "cursor_of_another_query"
    assert_problem(api_with_issues.client.get("/api/v1/dead-letters", params={"cursor": cursor}), 422)


INVALID_QUERIES = {
    "status=lost": "query.status",
    "priority=urgent": "query.priority",
    "tag=nonsense": "query.tag.0",
    "enrichment=SUCCESS": "query.enrichment",
    "created_after=yesterday": "query.created_after",
    "created_after=2026-01-01T00:00:00": "query.created_after",
    "q=": "query.q",
    "q=%00": "query.q",
    'q=-login -"a b"': "query.q",
    f"q={'q' * 201}": "query.q",
    "sort=title": "query.sort",
    "sort=relevance": "query",
    "statsu=open": "query.statsu",
    "limit=0": "query.limit",
}


def test_list_with_invalid_query_returns_pointer(api: Api) -> None:
    for query, pointer in INVALID_QUERIES.items():
        problem = assert_problem(api.client.get(f"/api/v1/issues?{query}"), 422)
        assert isinstance(problem["errors"], list)
        assert [error["pointer"] for error in problem["errors"]] == [pointer]
