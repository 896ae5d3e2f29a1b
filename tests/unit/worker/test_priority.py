"""Priority suggestions: only for damage that an issue reports."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.enrichment.priority import suggest_priority

REPORTED = [
    ("critical", "lost all records", "Import lost all records"),
    ("critical", "Data loss", "Data loss when two editors save at once"),
    ("critical", "loses data", "The sync loses data"),
    ("critical", "deleted all my notes", "Update deleted all my notes"),
    ("critical", "files were erased", "After the move my files were erased"),
    ("critical", "wiped the entire database", "The migration wiped the entire database"),
    ("critical", "silently drops events", "The consumer silently drops events under load"),
    ("critical", "data corruption", "Power failure leads to data corruption"),
    ("critical", "corrupts the index", "Compaction corrupts the index"),
    ("critical", "backup is corrupted", "Every second backup is corrupted"),
    ("critical", "security vulnerability", "There is a security vulnerability in the upload form"),
    ("critical", "Stored XSS", "Stored XSS in the comment field"),
    ("critical", "SQL injection", "SQL injection through the sort parameter"),
    ("critical", "Remote code execution", "Remote code execution in the template editor"),
    ("critical", "passwords are logged", "User passwords are logged in clear text"),
    ("critical", "leaks tokens", "The debug page leaks tokens of other tenants"),
    ("critical", "Anyone can read", "Anyone can read the invoices of other customers"),
    ("critical", "bypasses the login", "A crafted header bypasses the login"),
    ("critical", "Production is down", "Production is down since this morning"),
    ("critical", "site is completely unreachable", "The site is completely unreachable"),
    ("critical", "outage", "Full outage in the Frankfurt region"),
    ("critical", "No one can open", "No one can open the shop"),
    ("high", "crashes", "App crashes on start"),
    ("high", "crash", "Fix crash when opening a large file"),
    ("high", "segfaults", "Parser segfaults on empty input"),
    ("high", "Segmentation fault", "Segmentation fault in the decoder"),
    ("high", "kernel panic", "Plugging in the dongle causes a kernel panic"),
    ("high", "app closes itself", "The app closes itself when I rotate the phone"),
    ("high", "Uncaught exception", "Uncaught exception in the renderer"),
    ("high", "hangs forever", "Export hangs forever"),
    ("high", "completely unusable", "The editor is completely unusable on tablets"),
    ("high", "service won't start", "The service won't start on Debian"),
    ("high", "cannot log in", "Since Monday I cannot log in"),
    ("high", "worked fine in", "This worked fine in version 2"),
    ("high", "used to work", "Printing used to work"),
    ("high", "stopped working after", "Notifications stopped working after the upgrade"),
    ("high", "is a regression", "This is a regression"),
    ("high", "broken since the update", "Search is broken since the update"),
    ("high", "blocks the release", "This blocks the release of 3.0"),
    ("high", "showstopper", "For us it is a showstopper"),
    ("low", "Typo", "Typo in the welcome message"),
    ("low", "Spelling mistake", "Spelling mistake on the login page"),
    ("low", "cosmetic", "Purely cosmetic: the border is too thick"),
]

NOT_REPORTED = [
    "There is no data loss",
    "The import does not lose any data",
    "The app doesn't crash any more",
    "It never crashed before or after",
    "Restarts cleanly without data loss",
    "No crash, but the colours are wrong",
    "The crash is fixed in 1.4",
    "Crash no longer happens with the new driver",
    "Add a warning to prevent data loss",
    "To prevent data loss, add a confirmation",
    "Please add crash reporting",
    "It would be nice if the app could survive a crash",
    "[Feature] Restore tabs after a crash",
    "Feature request: data loss protection",
    "Support recovering from data corruption",
    "How do I avoid data corruption?",
    "What happens if the server is down?",
    "Could this lead to data loss?",
    "This might crash on old phones",
    "In theory two writers may corrupt the file",
    "In case of an outage show a friendly page",
    "The crash handler writes to the wrong folder",
    "Wrong link in the crash report",
    "Show the security settings to admins only",
    "Move the security section up",
    "Linear regression gives other coefficients",
    "Regression tests take two hours",
    "The method `crash()` lacks an example",
    "Rename crash_handler to on_failure",
    "See logs/crash.log for details",
    "DataLossError is not exported",
    "The download button is too small",
    "Scroll down to the footer",
    "I have a question about the outage policy page",
    "Typo tolerance for the search",
    "Guard against SQL injection in the new module",
    "Test that a crash of the worker is noticed",
    "Discuss what a security hole means for the roadmap",
    "The worker lost the connection to the database",
    "Show a message when the server is down",
    "Is this a regression?",
    "Weekly meeting notes",
    "",
]


@pytest.mark.parametrize(("value", "quote", "text"), REPORTED, ids=[text for *_, text in REPORTED])
@pytest.mark.parametrize("place", ["title", "body"])
def test_priority_for_reported_damage_quotes_evidence(value: str, quote: str, text: str, place: str) -> None:
    if place == "body" and value == "low":
        assert suggest_priority("Something is odd", text) is None
        return
    suggestion = suggest_priority(text, "") if place == "title" else suggest_priority("Something is odd", text)

    assert suggestion is not None
    assert suggestion.value == value
    assert suggestion.reason.endswith(f': "{quote}"')


@pytest.mark.parametrize("text", NOT_REPORTED)
@pytest.mark.parametrize("place", ["title", "body"])
def test_priority_for_denied_or_hypothetical_damage_is_none(text: str, place: str) -> None:
    title, body = (text, "") if place == "title" else ("Something is odd", text)

    assert suggest_priority(title, body) is None


def test_priority_reason_contains_rule_and_quote() -> None:
    suggestion = suggest_priority("Import is broken", "It ran for an hour. Then it lost all records, twice.")

    assert suggestion is not None
    assert (suggestion.value, suggestion.reason) == ("critical", 'reports a loss of data: "lost all records"')


def test_priority_with_several_rules_uses_highest() -> None:
    suggestion = suggest_priority("App crashes on save", "After the crash all my notes were gone.")

    assert suggestion is not None
    assert suggestion.value == "critical"


def test_priority_for_feature_request_is_none() -> None:
    assert suggest_priority("Add an autosave", "Last week the app crashed and I lost all my work.") is None


def test_priority_with_negation_in_other_clause_is_suggested() -> None:
    suggestion = suggest_priority("It does not save, and the app crashes", "")

    assert suggestion is not None
    assert suggestion.reason == 'reports a crash: "crashes"'


def test_priority_with_phrase_across_sentences_is_none() -> None:
    assert suggest_priority("Odd numbers", "I think we lost. All records are shown twice.") is None


@given(st.text(max_size=300), st.text(max_size=3000))
def test_priority_of_any_text_has_short_reason_or_is_none(title: str, body: str) -> None:
    suggestion = suggest_priority(title, body)

    assert suggestion == suggest_priority(title, body)
    assert suggestion is None or len(suggestion.reason) < 200


_PIECES = [
    "crash",
    "lost all",
    "data",
    "no",
    ",",
    ". ",
    "`",
    "`x` ",
    "and",
    " ",
    "corrupts",
    "is down",
    "a-b",
    "\u2019",
    "\n",
]


@given(st.lists(st.sampled_from(_PIECES), max_size=200).map(" ".join))
def test_priority_reason_quotes_text_of_issue(body: str) -> None:
    suggestion = suggest_priority("Odd", body)

    if suggestion is not None:
        quoted = suggestion.reason.split(': "', 1)[1].removesuffix('"')
        assert quoted in " ".join(body.split())


def test_priority_reason_with_code_in_phrase_quotes_code() -> None:
    suggestion = suggest_priority("The import lost all `user` records", "")

    assert suggestion is not None
    assert suggestion.reason == 'reports a loss of data: "lost all `user` records"'


@pytest.mark.parametrize(
    "piece", ["crash ", "lost all ", "`", "no ", "crash,", "a-", "((((", "is ", "data loss not ", "\n"]
)
def test_priority_of_hostile_text_has_short_reason(piece: str) -> None:
    suggestion = suggest_priority("Odd", piece * (1_000_000 // len(piece)))

    assert suggestion is None or 0 < len(suggestion.reason) < 500
