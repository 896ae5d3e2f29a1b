"""Dead letters in bulk: filters and bulk replay."""

from typing import Any

import pytest

from contracts.ids import new_id
from tests.integration.test_dead_letters import add_dead_job
from tests.integration.test_issues_api import assert_problem
from tests.support.database import Database
from tests.support.processes import Api

AWAY = "ConnectionError: the provider is down"
BROKEN = "ZeroDivisionError: unexpected input"
URL = "/api/v1/dead-letters"


@pytest.fixture
def letters(api: Api, database: Database) -> dict[str, str]:
    """Return the names of three dead jobs and a dead message by id."""
    away, old, broken, message = add_dead_job(database, AWAY), add_dead_job(database, AWAY), None, new_id()
    broken = add_dead_job(database, BROKEN)
    database.query("UPDATE job SET finished_at = '2020-01-01T00:00:00Z' WHERE id = %s", old)
    database.query("UPDATE job SET task = 'tests.other', queue = 'default' WHERE id = %s", broken)
    database.query(
        "INSERT INTO dead_message (id, digest, queue, reason, error, worker, raw) "
        "VALUES (%s, '1', 'issues', 'undecodable', 'undecodable: no JSON', 'w@host', 'x')",
        message,
    )
    del api
    names = {"away": away, "old": old, "broken": broken, "message": message}
    return {str(letter_id): name for name, letter_id in names.items()}


def test_dead_letters_with_filters_match_expected_letters(api: Api, letters: dict[str, str]) -> None:
    for query, names in (
        ({}, {"away", "old", "broken", "message"}),
        ({"kind": "message"}, {"message"}),
        ({"kind": "job"}, {"away", "old", "broken"}),
        ({"task": "tests.other"}, {"broken"}),
        ({"queue": "issues"}, {"away", "old", "message"}),
        ({"error": "ConnectionError"}, {"away", "old"}),
        ({"error": "undecodable"}, {"message"}),
        ({"died_after": "2020-06-01T00:00:00Z"}, {"away", "broken", "message"}),
        ({"died_before": "2020-06-01T00:00:00Z"}, {"old"}),
        ({"q": "UNEXPECTED input"}, {"broken"}),
        ({"q": "100%_"}, set()),
        ({"error": "ConnectionError", "died_before": "2020-06-01T00:00:00Z", "limit": "1"}, {"old"}),
    ):
        found = api.client.get(URL, params=query).json()["items"]
        assert {letters[letter["id"]] for letter in found} == names, query


def test_bulk_replay_dry_run_counts_by_error_and_changes_nothing(
    api: Api, database: Database, letters: dict[str, str]
) -> None:
    del letters
    response = api.client.post(f"{URL}/replay", json={"dry_run": True})

    assert response.status_code == 202
    assert response.json() == {
        "dry_run": True,
        "matched": 3,
        "replayed": 0,
        "errors": [{"error": "ConnectionError", "count": 2}, {"error": "ZeroDivisionError", "count": 1}],
    }
    assert database.states() == {"dead": 3}
    assert database.read_audit_log() == []


def test_bulk_replay_with_filter_replays_only_matching_jobs(
    api: Api, database: Database, letters: dict[str, str]
) -> None:
    response = api.client.post(f"{URL}/replay", json={"error": "ConnectionError", "q": "n"})
    repeated = api.client.post(f"{URL}/replay", json={"error": "ConnectionError"})

    assert (response.json()["matched"], response.json()["replayed"]) == (2, 2)
    assert (repeated.json()["matched"], repeated.json()["replayed"]) == (0, 0)
    remaining = api.client.get(URL).json()["items"]
    assert {letters[letter["id"]] for letter in remaining} == {"broken", "message"}
    (entry,) = database.read_audit_log()
    assert (entry["action"], entry["detail"]) == (
        "dead_letters.replayed",
        {"count": 2, "error": "ConnectionError", "q": None},
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
def test_bulk_replay_with_invalid_filter_is_rejected_with_422(
    body: dict[str, Any], pointer: str, api: Api, database: Database, letters: dict[str, str]
) -> None:
    del letters
    problem = assert_problem(api.client.post(f"{URL}/replay", json=body), 422)

    assert isinstance(problem["errors"], list)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert database.states() == {"dead": 3}


def test_dead_letter_decision_sent_twice_is_audited_once(
    api: Api, database: Database, letters: dict[str, str]
) -> None:
    ids = {name: letter_id for letter_id, name in letters.items()}
    for _ in range(2):
        api.client.post(f"{URL}/{ids['away']}/replay")
        api.client.post(f"{URL}/{ids['broken']}/discard", json={"reason": "a test"})
        api.client.post(f"{URL}/{ids['message']}/discard", json={"reason": "no job"})
        assert_problem(api.client.post(f"{URL}/{new_id()}/replay"), 404)

    entries = [
        (entry["action"], letters[entry["subject"]], entry["detail"]) for entry in database.read_audit_log()
    ]
    assert entries == [
        ("dead_letter.replayed", "away", {}),
        ("dead_letter.discarded", "broken", {}),
        ("dead_letter.discarded", "message", {}),
    ]
