"""The tag vocabulary and its editable descriptions."""

from typing import Any

import pytest

from contracts.vocabulary import DESCRIPTIONS
from tests.integration.test_issues_api import assert_problem
from tests.support.database import Database
from tests.support.processes import Api

URL = "/api/v1/tags"


def read_descriptions(api: Api) -> dict[str, str]:
    return {tag["name"]: tag["description"] for tag in api.client.get(URL).json()["items"]}


def test_tag_list_contains_kind_and_description(api: Api) -> None:
    tags = api.client.get(URL).json()["items"]

    assert read_descriptions(api) == DESCRIPTIONS
    assert {tag["name"]: tag["kind"] for tag in tags if tag["name"] in {"bug", "api", "lang:xx"}} == {
        "bug": "type",
        "api": "area",
        "lang:xx": "language",
    }


def test_put_descriptions_replaces_given_and_resets_omitted_descriptions(api: Api, database: Database) -> None:
    put = api.client.put(URL, json={"descriptions": {"backend": " Behind the gateway "}})
    assert put.status_code == 200
    assert put.json() == api.client.get(URL).json()
    assert read_descriptions(api) == {**DESCRIPTIONS, "backend": "Behind the gateway"}

    api.client.put(URL, json={"descriptions": {"lang:xx": "Not in English"}})
    assert read_descriptions(api) == {**DESCRIPTIONS, "lang:xx": "Not in English"}
    assert database.one("SELECT count(*) FROM audit_log WHERE action = 'tags.described'") == 2


@pytest.mark.parametrize(
    ("body", "pointer", "rule"),
    [
        ({"descriptions": {"urgent": "d"}}, "#/descriptions/urgent/[key]", "string_pattern_mismatch"),
        ({"descriptions": {"bug": " "}}, "#/descriptions/bug", "string_too_short"),
        ({"descriptions": {"bug": "a\x00b"}}, "#/descriptions/bug", "string_nul"),
        ({"descriptions": {}, "names": []}, "#/names", "extra_forbidden"),
    ],
)
def test_put_invalid_descriptions_is_rejected_with_422(
    api: Api, body: dict[str, Any], pointer: str, rule: str
) -> None:
    problem = assert_problem(api.client.put(URL, json=body), 422)

    assert isinstance(problem["errors"], list)
    assert [(error["pointer"], error["rule"]) for error in problem["errors"]] == [(pointer, rule)]
    assert read_descriptions(api) == DESCRIPTIONS
