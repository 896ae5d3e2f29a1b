"""Dead letters by the hundred: found by what they have in common, and replayed together."""

from typing import Any

import pytest

from contracts.ids import new_id
from tests.integration.test_dead_letters import add_dead_job
from tests.integration.test_issues_api import assert_problem
from tests.support.database import Database
from tests.support.processes import Api

AWAY = "ConnectionError: the provider is away"
BROKEN = "ZeroDivisionError: nobody foresaw this"
URL = "/api/v1/dead-letters"


@pytest.fixture
def letters(api: Api, database: Database) -> dict[str, str]:
    """Three dead jobs and a dead message, by name."""
    away, old, broken, message = add_dead_job(database, AWAY), add_dead_job(database, AWAY), None, new_id()
    broken = add_dead_job(database, BROKEN)
    database.query("UPDATE job SET finished_at = '2026-01-01T00:00:00Z' WHERE id = %s", old)
    database.query("UPDATE job SET task = 'tests.other', queue = 'default' WHERE id = %s", broken)
    database.query(
        "INSERT INTO dead_message (id, digest, queue, reason, error, worker, raw) "
        "VALUES (%s, '1', 'issues', 'undecodable', 'undecodable: no JSON', 'w@host', 'x')",
        message,
    )
    del api
    names = {"away": away, "old": old, "broken": broken, "message": message}
    return {str(letter_id): name for name, letter_id in names.items()}


def test_what_is_dead_is_found_by_what_is_known_of_it(api: Api, letters: dict[str, str]) -> None:
    for query, names in (
        ({}, {"away", "old", "broken", "message"}),
        ({"kind": "message"}, {"message"}),
        ({"kind": "job"}, {"away", "old", "broken"}),
        ({"task": "tests.other"}, {"broken"}),
        ({"queue": "issues"}, {"away", "old", "message"}),
        ({"error": "ConnectionError"}, {"away", "old"}),
        ({"error": "undecodable"}, {"message"}),
        ({"died_after": "2026-06-01T00:00:00Z"}, {"away", "broken", "message"}),
        ({"died_before": "2026-06-01T00:00:00Z"}, {"old"}),
        ({"q": "NOBODY foresaw"}, {"broken"}),
        ({"q": "100%_"}, set()),
        ({"error": "ConnectionError", "died_before": "2026-06-01T00:00:00Z", "limit": "1"}, {"old"}),
    ):
        found = api.client.get(URL, params=query).json()["items"]
        assert {letters[letter["id"]] for letter in found} == names, query


def test_a_dry_run_counts_by_error_and_touches_nothing(
    api: Api, database: Database, letters: dict[str, str]
) -> None:
    del letters
    answer = api.client.post(f"{URL}/replay", json={"dry_run": True})

    assert answer.status_code == 202
    assert answer.json() == {
        "dry_run": True,
        "matched": 3,
        "replayed": 0,
        "errors": [{"error": "ConnectionError", "count": 2}, {"error": "ZeroDivisionError", "count": 1}],
    }
    assert database.states() == {"dead": 3}
    assert database.audited() == []


def test_all_that_match_run_again_and_no_others(api: Api, database: Database, letters: dict[str, str]) -> None:
    answer = api.client.post(f"{URL}/replay", json={"error": "ConnectionError"})
    again = api.client.post(f"{URL}/replay", json={"error": "ConnectionError"})

    assert (answer.json()["matched"], answer.json()["replayed"]) == (2, 2)
    assert (again.json()["matched"], again.json()["replayed"]) == (0, 0)
    left = api.client.get(URL).json()["items"]
    assert {letters[letter["id"]] for letter in left} == {"broken", "message"}
    (entry,) = database.audited()
    assert (entry["action"], entry["detail"]) == (
        "dead_letters.replayed",
        {"count": 2, "error": "ConnectionError"},
    )


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"dry_run": "perhaps"}, "#/dry_run"),
        ({"dryrun": True}, "#/dryrun"),
        ({"kind": "message"}, "#/kind"),
        ({"task": ""}, "#/task"),
        ({"q": "a\x00b"}, "#/q"),
        ({"died_after": "yesterday"}, "#/died_after"),
    ],
)
def test_a_bad_filter_is_named_and_nothing_runs(
    body: dict[str, Any], pointer: str, api: Api, database: Database, letters: dict[str, str]
) -> None:
    del letters
    problem = assert_problem(api.client.post(f"{URL}/replay", json=body), 422)

    assert isinstance(problem["errors"], list)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert database.states() == {"dead": 3}


def test_each_decision_is_in_the_audit_log_once(api: Api, database: Database, letters: dict[str, str]) -> None:
    ids = {name: letter_id for letter_id, name in letters.items()}
    for _ in range(2):
        api.client.post(f"{URL}/{ids['away']}/replay")
        api.client.post(f"{URL}/{ids['broken']}/discard", json={"reason": "a test"})
        api.client.post(f"{URL}/{ids['message']}/discard", json={"reason": "no job"})
        assert_problem(api.client.post(f"{URL}/{new_id()}/replay"), 404)

    entries = [(entry["action"], letters[entry["subject"]], entry["detail"]) for entry in database.audited()]
    assert entries == [
        ("dead_letter.replayed", "away", {}),
        ("dead_letter.discarded", "broken", {"reason": "a test"}),
        ("dead_letter.discarded", "message", {"reason": "no job"}),
    ]
