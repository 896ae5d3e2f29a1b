"""Errors over HTTP are problem documents whose details are sentences."""

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, FastAPI, HTTPException, Query
from fastapi.testclient import TestClient

from api import problems
from api.issues.schemas import IssueCreate, IssueQuery
from api.sessions.schemas import Login


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    problems.install(app)

    @app.post("/issues")
    async def create(new: IssueCreate) -> None: ...

    router = APIRouter(prefix="/issues")

    @router.get("")
    async def list_page(query: Annotated[IssueQuery, Query()]) -> None: ...

    app.include_router(router)

    @app.post("/session")
    async def log_in(login: Login) -> None: ...

    @app.get("/missing")
    async def missing() -> None:
        raise HTTPException(404, "Issue 7 does not exist.")

    return TestClient(app)


def detail_of(answer: Any, status: int) -> str:
    assert answer.status_code == status
    assert answer.headers["content-type"] == problems.MEDIA_TYPE
    return str(answer.json()["detail"])


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"priority": "High"}, 'priority: "High" is not valid. Use low, medium, high or critical.'),
        ({"title": " "}, "title: The text is empty. Use at least 1 character."),
        ({"titel": "x"}, "titel: This field does not exist. Check its spelling or remove it."),
        ({"description": "a\x00b"}, "description: The text contains a NUL character. Remove it."),
        (
            {"external": {"source": "GitHub", "id": "1"}},
            (
                'external.source: "GitHub" is not valid. Use up to 255 lower-case letters, digits and . _ : / -, '
                "beginning with a letter or digit."
            ),
        ),
        (
            {"external": {"source": "x", "id": "1", "url": "ftp://x"}},
            'external.url: "ftp://x" is not valid. Use an http or https URL without spaces.',
        ),
        (
            {"external": {"source": "x", "id": "1", "url": "https://[x"}},
            'external.url: "https://[x" is not valid. Use an http or https URL.',
        ),
    ],
    ids=["priority", "title", "unknown", "nul", "source", "scheme", "url"],
)
def test_body_with_invalid_field_is_described_in_sentences(
    client: TestClient, fields: dict[str, Any], detail: str
) -> None:
    assert detail_of(client.post("/issues", json={"title": "x", **fields}), 422) == detail


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("limit=0", "limit: 0 is not valid. Use a number of at least 1."),
        ("limit=many", 'limit: "many" is not valid. Use a whole number.'),
        (
            "created_after=today",
            'created_after: "today" is not valid. Use a time such as 2026-11-24T09:55:10Z.',
        ),
        ("q=-login", "q: The search only excludes words. Add at least one word to search for."),
        ("sort=relevance", "query: Sorting by relevance requires a search. Set q, or use another sort order."),
    ],
)
def test_query_with_invalid_parameter_is_described_in_sentences(
    client: TestClient, query: str, detail: str
) -> None:
    found = detail_of(client.get(f"/issues?{query}"), 422)
    assert found.replace('"0"', "0") == detail


def test_body_with_several_faults_lists_each_with_its_pointer(client: TestClient) -> None:
    answer = client.post("/issues", json={"title": "", "external": {"id": "1"}})

    assert [(error["pointer"], error["rule"]) for error in answer.json()["errors"]] == [
        ("#/title", "string_too_short"),
        ("#/external/source", "missing"),
    ]
    assert detail_of(answer, 422) == (
        "title: The text is empty. Use at least 1 character. external.source: This field is required."
    )


def test_body_with_many_faults_lists_20_and_counts_the_rest(client: TestClient) -> None:
    answer = client.post("/issues", json={"title": "x", **{f"field{number}": 1 for number in range(50)}})

    assert len(answer.json()["errors"]) == problems.ERRORS_MAX
    assert detail_of(answer, 422).endswith(" 30 more errors are not listed.")


def test_body_with_long_value_is_shortened(client: TestClient) -> None:
    detail = detail_of(client.post("/issues", json={"title": "x", "priority": "x" * 10_000}), 422)
    assert len(detail) < 200


def test_body_with_lone_surrogate_is_rejected_with_422(client: TestClient) -> None:
    body = rb'{"title": "x", "priority": "\ud800"}'
    answer = client.post("/issues", content=body, headers={"Content-Type": "application/json"})
    assert detail_of(answer, 422).startswith("priority: ")


def test_body_with_secret_of_wrong_type_does_not_show_it(client: TestClient) -> None:
    assert detail_of(client.post("/session", json={"token": 12345}), 422) == (
        "token: The value is not valid. Use a string."
    )


def test_body_that_is_not_json_is_rejected_with_400(client: TestClient) -> None:
    answer = client.post("/issues", content=b"{", headers={"Content-Type": "application/json"})
    assert detail_of(answer, 400).startswith("The body is not valid JSON: ")


def test_body_of_another_media_type_is_rejected_with_415(client: TestClient) -> None:
    answer = client.post("/issues", content=b"title=x", headers={"Content-Type": "text/plain"})
    assert detail_of(answer, 415) == "The content type is not supported. Send the body as application/json."


def test_method_that_is_not_allowed_is_rejected_with_405(client: TestClient) -> None:
    answer = client.put("/issues")
    assert detail_of(answer, 405) == "The method PUT is not allowed on this path. Use GET, HEAD, POST."
    assert answer.headers["allow"] == "GET, HEAD, POST"


def test_unknown_path_is_named_in_404(client: TestClient) -> None:
    assert detail_of(client.get("/nowhere"), 404) == 'The path "/nowhere" does not exist.'


def test_http_exception_keeps_its_detail(client: TestClient) -> None:
    assert detail_of(client.get("/missing"), 404) == "Issue 7 does not exist."
