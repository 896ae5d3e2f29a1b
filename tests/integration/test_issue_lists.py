"""Lists of issues: filtered, searched, sorted, in pages that stay right."""

from itertools import chain
from typing import Any

import pytest

from contracts.ids import new_id
from devstack.network import wait_until
from tests.integration.test_issues_api import assert_problem
from tests.support.database import Database
from tests.support.processes import Api

PRIORITIES = ("low", "medium", "high", "critical")


def titles(api: Api, **query: Any) -> list[str]:
    answer = api.client.get("/api/v1/issues", params=query)
    assert answer.status_code == 200, answer.text
    return [issue["title"] for issue in answer.json()["items"]]


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
def many(api: Api, database: Database) -> Api:
    """An API with twelve issues of which many share their times and priorities."""
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
    ({"project": "nobody"}, []),
    ({"enrichment": "dead"}, []),
    ({"limit": 2}, [11, 10]),
    ({"created_after": "0001-01-01T00:00:00+14:00", "limit": 1}, [11]),
    ({"created_after": "9999-12-31T23:59:59-14:00"}, []),
]


def test_filters(many: Api) -> None:
    for query, numbers in FILTERED:
        assert titles(many, **query) == [f"Issue {number:02}" for number in numbers], query


def test_the_newest_enrichment_is_filtered_by(api: Api, database: Database) -> None:
    issue_id = api.post("Found").json()["id"]
    api.post("Other")
    wait_until(lambda: database.states() == {"queued": 2}, 30, "the jobs to be queued")
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
def test_pages_of_every_sort_hold_each_issue_once_and_in_order(sort: str, many: Api) -> None:
    items = many.client.get("/api/v1/issues", params={"sort": sort}).json()["items"]
    by = sort.removeprefix("-")
    keys = [
        (PRIORITIES.index(issue["priority"]), issue["created_at"]) if by == "priority" else issue[f"{by}_at"]
        for issue in items
    ]
    assert keys == sorted(keys, reverse=sort.startswith("-"))
    assert len({issue["id"] for issue in items}) == 12

    for limit in (1, 5, 11, 12):
        found = pages(many, sort=sort, limit=limit)
        assert list(chain.from_iterable(found)) == [issue["title"] for issue in items]
        assert len(found) == -(-12 // limit), "the last page, full or not, names no other"


def test_pages_of_a_search_hold_each_match_once_with_the_best_first(many: Api) -> None:
    ranked = titles(many, q="login fails")

    assert sorted(ranked) == [f"Issue {number:02}" for number in range(12) if number % 4]
    assert list(chain.from_iterable(pages(many, q="login fails", limit=2))) == ranked
    assert list(chain.from_iterable(pages(many, q="login", sort="created", limit=4))) == sorted(ranked)
    assert list(chain.from_iterable(pages(many, q="login fails", status="open", limit=2))) == [
        title for title in ranked if int(title[-2:]) % 5
    ]


def test_what_comes_between_two_pages_of_a_search_does_not_shift_them(many: Api) -> None:
    whole = titles(many, q="login")
    first = many.client.get("/api/v1/issues", params={"q": "login", "limit": 4}).json()

    many.post("login login login")
    rest = many.client.get(
        "/api/v1/issues", params={"q": "login", "limit": 100, "cursor": first["next_cursor"]}
    ).json()

    assert [issue["title"] for issue in first["items"] + rest["items"]] == whole


def test_an_issue_is_found_as_soon_as_it_is_there_and_by_what_it_says_now(api: Api) -> None:
    issue = api.post("Exporting reports fails", description="See `java.lang.NullPointerException`").json()
    assert titles(api, q="export") == ["Exporting reports fails"]
    assert titles(api, q="java.lang.NullPointerException") == ["Exporting reports fails"]

    api.client.patch(f"/api/v1/issues/{issue['id']}", json={"title": "Printing fails"})

    assert titles(api, q="export") == []
    assert titles(api, q="print") == ["Printing fails"]


def test_a_title_counts_more_than_a_description(api: Api) -> None:
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


def test_what_people_type_into_a_search_box(api: Api) -> None:
    for title in ("Printing fails", "Saving fails", "Fails when printing"):
        api.post(title)

    for q, found in SEARCHES:
        assert set(titles(api, q=q)) == found, q


def test_texts_of_any_kind_can_be_stored_and_searched(api: Api) -> None:
    for description in ("x" * 65_536, " ".join(str(number) for number in range(11_000)), "\U0001f41e " * 30_000):
        assert api.post("Long", description=description).status_code == 201
    assert len(titles(api, q="long")) == 3


def test_a_cursor_belongs_to_its_query(many: Api) -> None:
    query: dict[str, Any] = {"status": "open", "sort": "-updated", "limit": 2}
    cursor = many.client.get("/api/v1/issues", params=query).json()["next_cursor"]
    assert many.client.get("/api/v1/issues", params={**query, "limit": 7, "cursor": cursor}).status_code == 200

    for other in ({"status": "closed"}, {"sort": "updated"}, {"q": "login"}, {"tag": "bug"}):
        answer = many.client.get("/api/v1/issues", params={**query, **other, "cursor": cursor})
        problem = assert_problem(answer, 422)
        assert isinstance(problem["errors"], list)
        assert problem["errors"][0]["pointer"] == "query.cursor"
        assert problem["errors"][0]["rule"] == "cursor_of_another_query"
    assert_problem(many.client.get("/api/v1/dead-letters", params={"cursor": cursor}), 422)


REFUSED = {
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


def test_what_a_list_cannot_be_asked_is_named(api: Api) -> None:
    for query, pointer in REFUSED.items():
        problem = assert_problem(api.client.get(f"/api/v1/issues?{query}"), 422)
        assert isinstance(problem["errors"], list)
        assert [error["pointer"] for error in problem["errors"]] == [pointer]
