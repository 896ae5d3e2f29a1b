"""Requests of a shape that no client sends are refused before their fields are validated."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest

from tests.integration.test_issues_api import assert_problem
from tests.support.database import Database
from tests.support.imports import CSV, JSON, import_file, ndjson, post_import, row_counts
from tests.support.processes import Api
from tests.support.raw_http import RawConnection

MANY_KEYS = {f"k{number}": 0 for number in range(110_000)}


def test_login_with_110000_keys_is_rejected_with_413(api: Api) -> None:
    problem = assert_problem(api.client.post("/api/v1/session", json=MANY_KEYS), 413)

    assert problem["detail"] == "The body has more than 4096 bytes. Send a smaller one."


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/issues"),
        ("PATCH", "/issues/01a20614-800e-771f-862f-526a86f415ac"),
        ("PUT", "/issues/01a20614-800e-771f-862f-526a86f415ac/tags"),
        ("POST", "/dead-letters/replay"),
        ("POST", "/tokens"),
        ("POST", "/webhooks"),
        ("PUT", "/tags"),
        ("PUT", "/pauses/queue/issues"),
    ],
)
@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (dict(list(MANY_KEYS.items())[:60_000]), "There are 60000 members in an object. Use at most 100."),
        ({"tags": ["x"] * 100_000}, "There are 100000 items in a list. Use at most 100."),
        ({"external": {"a": [[[0] * 100] * 100]}}, "There are more than 1000 values. Use fewer."),
    ],
    ids=["members", "items", "values"],
)
def test_body_with_too_many_values_is_rejected_with_one_error(
    method: str, path: str, body: Any, sentence: str, api: Api, database: Database
) -> None:
    problem = assert_problem(api.client.request(method, f"/api/v1{path}", json=body), 422)

    assert problem["errors"] == [{"pointer": "#", "rule": "too_many_values", "detail": sentence}]
    assert database.one("SELECT count(*) FROM audit_log") == 0


def test_query_with_too_many_parameters_is_rejected_with_400(api: Api) -> None:
    problem = assert_problem(api.client.get("/api/v1/issues?" + "&".join(f"p{n}=1" for n in range(3000))), 400)

    assert problem["detail"] == "The query has more than 100 parameters. Send fewer."


def test_query_with_repeated_parameter_is_rejected_with_422(api: Api) -> None:
    problem = assert_problem(api.client.get("/api/v1/issues?status=open&sta%74us=closed"), 422)

    assert problem["detail"] == 'The query has the parameter "status" more than once. Send it once.'
    assert api.client.get("/api/v1/issues?tag=bug&tag=backend").status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Content-Type",
        "Cookie",
        "Host",
        "Idempotency-Key",
        "Origin",
        "Sec-Fetch-Site",
        "X-Request-ID",
    ],
)
def test_request_with_doubled_header_is_rejected_with_400(name: str, api: Api, database: Database) -> None:
    with RawConnection(api) as connection:
        connection.send(
            b"POST /api/v1/issues HTTP/1.1\r\nConnection: close\r\nContent-Length: 14\r\n"
            + f"{name}: 127.0.0.1\r\n".encode() * 2
            + b'\r\n{"title": "t"}'
        )
        problem = connection.read_problem()

    assert problem["status"] == 400
    assert problem["detail"] == f"The request has the header {name.lower()} more than once. Send it once."
    assert database.one("SELECT count(*) FROM issue") == 0


@pytest.mark.parametrize("sort", ["created", "-created", "updated", "-priority"])
@pytest.mark.parametrize(
    "moment",
    ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999-23:59", "9999-12-31T23:59:59Z", 1e300, "NaN"],
)
def test_cursor_with_overflowing_time_is_no_unexpected_error(sort: str, moment: Any, api: Api) -> None:
    for _ in range(2):
        api.post()
    cursor = api.client.get("/api/v1/issues", params={"sort": sort, "limit": 1}).json()["next_cursor"]
    values = json.loads(urlsafe_b64decode(f"{cursor}=="))
    values[-2] = moment
    forged = urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")

    response = api.client.get("/api/v1/issues", params={"sort": sort, "limit": 1, "cursor": forged})

    assert response.status_code in {200, 422}, response.text


def test_import_of_rows_with_110000_keys_reports_one_error_a_row(api: Api) -> None:
    keys = dict(list(MANY_KEYS.items())[:80_000])
    nested = {"title": "t", "external": {"source": "x", "id": "1", **keys}}

    operation = import_file(api, ndjson([keys, nested, {"title": "t", "source": "x", "external_id": "2"}]))

    assert row_counts(operation) == {"created": 1, "failed": 2}
    assert [(error["row"], error["rule"]) for error in operation["errors"]] == [
        (1, "too_many_values"),
        (2, "too_many_values"),
    ]


def test_import_of_array_with_too_long_item_is_rejected_with_413(api: Api) -> None:
    body = json.dumps([{"number": 1, "title": "t"}, dict.fromkeys(map(str, range(300_000)), 0)], indent=0)

    problem = assert_problem(post_import(api, body.encode(), JSON), 413)

    assert problem["detail"] == "The item at line 6 has more than 1048576 characters. Remove it."


def test_import_of_csv_with_too_long_line_reports_it(api: Api) -> None:
    body = b"external_id,title,source\n" + b"," * 2_000_000 + b"\n1,t,x\n"

    operation = import_file(api, body, CSV)

    assert row_counts(operation) == {"created": 1, "failed": 1}
    assert operation["errors"][0]["detail"] == "The row is not valid CSV: it has more than 1048576 bytes."
