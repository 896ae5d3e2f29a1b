"""The vocabulary: closed words, described in people's own."""

from typing import Any

import pytest

from contracts.vocabulary import DESCRIPTIONS
from tests.integration.test_issues_api import assert_problem
from tests.support.database import Database
from tests.support.processes import Api

URL = "/api/v1/tags"


def described(api: Api) -> dict[str, str]:
    return {tag["name"]: tag["description"] for tag in api.client.get(URL).json()["items"]}


def test_every_tag_is_listed_with_its_kind_and_meaning(api: Api) -> None:
    tags = api.client.get(URL).json()["items"]

    assert described(api) == DESCRIPTIONS
    assert {tag["name"]: tag["kind"] for tag in tags if tag["name"] in {"bug", "api", "lang:xx"}} == {
        "bug": "type",
        "api": "area",
        "lang:xx": "language",
    }


def test_descriptions_are_replaced_and_what_is_left_out_means_what_it_meant(api: Api, database: Database) -> None:
    put = api.client.put(URL, json={"descriptions": {"backend": " Behind the gateway "}})
    assert put.status_code == 200
    assert put.json() == api.client.get(URL).json()
    assert described(api) == {**DESCRIPTIONS, "backend": "Behind the gateway"}

    api.client.put(URL, json={"descriptions": {"lang:xx": "Not in English"}})
    assert described(api) == {**DESCRIPTIONS, "lang:xx": "Not in English"}
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
def test_words_that_are_none_are_refused(api: Api, body: dict[str, Any], pointer: str, rule: str) -> None:
    problem = assert_problem(api.client.put(URL, json=body), 422)

    assert isinstance(problem["errors"], list)
    assert [(error["pointer"], error["rule"]) for error in problem["errors"]] == [(pointer, rule)]
    assert described(api) == DESCRIPTIONS
