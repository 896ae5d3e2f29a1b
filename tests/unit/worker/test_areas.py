"""Area suggestions from the lexicon and from a project's confirmed labels."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.enrichment.area_lexicon import AreaLexicon, area_version, load_calibration, load_lexicon
from app.enrichment.areas import MAX_AREAS, AreaDelta, suggest_areas, train_areas
from app.enrichment.classification.artefact import ArtefactError
from contracts.vocabulary import AreaTag
from evaluation.areas import evaluate
from evaluation.train_areas import calibrate


def areas(title: str, body: str = "", delta: AreaDelta | None = None) -> list[str]:
    return [tag.name for tag in suggest_areas(title, body, delta)]


@pytest.mark.parametrize(
    ("title", "body", "expected"),
    [
        ("Login button does not react to clicks", "Hovering works.", "frontend"),
        ("Dropdown is cut off on small screens", "", "frontend"),
        ("Dark mode: text in the sidebar cannot be read", "", "frontend"),
        ("Screen reader skips the menu", "It jumps from the header to the footer.", "frontend"),
        ("Dashboard widgets overlap after resizing the window", "", "frontend"),
        (
            "Plugins should be able to register event hooks",
            "Then a class of theirs can extend the core.",
            "backend",
        ),
        ("Database migration fails on PostgreSQL", "The schema is not what the ORM expects.", "backend"),
        ("Worker does not pick up jobs from the queue", "The queue is in Redis.", "backend"),
        ("Search is slow with many documents", "One query takes twenty seconds.", "performance"),
        ("Memory leak in the websocket handler", "", "performance"),
        ("Startup takes too long", "Most of the time is spent loading large files.", "performance"),
        ("High CPU usage while idle", "", "performance"),
        ("XSS in the profile name", "", "security"),
        ("Passwords are stored without salt", "", "security"),
        ("Add two factor authentication", "", "security"),
        ("Delete personal data on request (GDPR)", "", "security"),
        ("Session cookie lacks the secure flag", "", "security"),
        ("Flaky test in the scheduler", "It fails once in ten runs.", "testing"),
        ("Add unit tests for the parser", "Code coverage is poor there.", "testing"),
        ("Missing translations in German", "", "i18n"),
        ("Dates are shown in the wrong time zone and locale", "", "i18n"),
        ("Right to left languages are not supported", "", "i18n"),
        ("Build fails on Windows with MSBuild", "", "build-ci"),
        ("Cannot install from source with pip", "Building the wheel ends with a gcc error.", "build-ci"),
        ("GitHub Actions workflow is broken", "", "build-ci"),
        ("Docker image is not built for arm64", "", "build-ci"),
        ("REST API: endpoint ignores the limit parameter", "", "api"),
        ("Deprecate the argument `verbose`", "It is a breaking change for callers.", "api"),
        ("Return value of the public method has no type hints", "", "api"),
    ],
)
def test_areas_for_clear_issue_rank_expected_area_first(title: str, body: str, expected: str) -> None:
    assert areas(title, body)[0] == expected


@pytest.mark.parametrize(
    "title", ["", "Weekly meeting notes", "It does not work", "Thank you all!", "Question", "Please help me", "42"]
)
def test_areas_without_evidence_are_empty(title: str) -> None:
    assert areas(title) == []


def test_areas_with_evidence_for_two_areas_contain_both() -> None:
    assert set(areas("Slow unit tests: the test suite takes too long", "Memory usage is high, too.")) == {
        "performance",
        "testing",
    }


def test_areas_for_documentation_issue_are_empty() -> None:
    assert areas("Typo in the documentation", "The user guide says so.") == []


def test_lexicon_score_is_higher_for_title_and_early_words() -> None:
    lexicon = load_lexicon()

    def score(title: str, body: str) -> float:
        return lexicon.scores(title, body)["performance"]

    assert score("slow", "") > score("", "slow") > score("", "word " * 200 + "slow") > 0
    assert score("slow", "slow slow") == score("slow", "")


def test_lexicon_terms_match_words_prefixes_and_phrases() -> None:
    lexicon = AreaLexicon.parse('[ui]\n"1.0" = ["tab", "colo*", "drop down menu*"]\n"-0.5" = ["sql"]\n')

    def score(title: str) -> float:
        return lexicon.scores(title, "")["ui"]

    assert score("A TAB") == 3.0
    assert score("The table") == 0.0
    assert score("Colours") == 3.0
    assert score("Drop-down menus") == 3.0
    assert score("Drop down") == 0.0
    assert score("Tab of SQL") == 1.5


@pytest.mark.parametrize("text", ['[ui]\n"1.0" = ["tab"]\n"2.0" = ["tab"]\n', '[ui]\n"1.0" = ["ta*"]\n'])
def test_lexicon_with_invalid_terms_raises_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"two weights|too short"):
        AreaLexicon.parse(text)


def test_lexicon_and_calibration_cover_every_area() -> None:
    assert {*AreaTag} < {*load_lexicon().areas}
    assert {*load_calibration().areas} == {*load_lexicon().areas}
    for curve in load_calibration().areas.values():
        assert curve.slope > 0 > curve.bias


EXAMPLES = [
    *[
        (f"Harvester stalls on shard {n}", "The harvester is stuck.", frozenset({"performance"}))
        for n in range(12)
    ],
    *[(f"Beacon {n} is not drawn", "The beacon stays blank.", frozenset({"frontend"})) for n in range(12)],
    *[(f"Ledger entry {n} is odd", "It has no number.", frozenset()) for n in range(12)],
]


@pytest.fixture(scope="module")
def delta() -> AreaDelta:
    return train_areas(EXAMPLES)


def test_areas_with_delta_use_words_of_the_project(delta: AreaDelta) -> None:
    title, body = "Harvester stalls again", "The harvester waits since noon."

    assert areas(title, body) == []
    assert areas(title, body, delta) == ["performance"]
    assert areas("Beacon missing", "", delta) == ["frontend"]
    assert areas("Ledger entry is missing", "", delta) == []


def test_areas_with_delta_include_areas_without_examples(delta: AreaDelta) -> None:
    assert areas("XSS in the profile name", "A security hole.", delta) == ["security"]
    assert areas("Add unit tests for the parser", "", delta) == ["testing"]


def test_delta_from_same_examples_is_reproducible_and_round_trips(delta: AreaDelta) -> None:
    stored = delta.to_bytes()

    assert train_areas(EXAMPLES).to_bytes() == stored
    restored = AreaDelta.from_bytes(stored)
    assert restored.to_bytes() == stored
    for title, body, _ in EXAMPLES:
        assert suggest_areas(title, body, restored) == suggest_areas(title, body, delta)


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_delta_cut_short_is_rejected(delta: AreaDelta, length: int) -> None:
    with pytest.raises(ArtefactError, match="safetensors"):
        AreaDelta.from_bytes(delta.to_bytes()[:length])


def test_delta_in_the_format_before_safetensors_is_rejected() -> None:
    with pytest.raises(ArtefactError, match="train it again"):
        AreaDelta.from_bytes(b"IssueTracker model 1\n" + bytes(100))


def test_training_without_examples_raises_value_error() -> None:
    with pytest.raises(ValueError, match="without examples"):
        train_areas([])


def test_training_with_empty_examples_yields_usable_delta() -> None:
    empty = train_areas([("", "", frozenset()), ("?", "", frozenset({"api"}))])

    assert AreaDelta.from_bytes(empty.to_bytes()).to_bytes() == empty.to_bytes()
    assert len(areas("XSS in the profile name", "", empty)) <= MAX_AREAS


def test_area_version_is_stable_12_character_digest() -> None:
    assert len(area_version()) == 12
    assert area_version() == area_version()


_PLAIN = st.text(max_size=2000)
_WORDS = st.lists(st.sampled_from(sorted({*load_lexicon().words})), max_size=60).map(" ".join)


@given(st.one_of(_PLAIN, _WORDS), st.one_of(_PLAIN, _WORDS), st.booleans())
def test_areas_for_any_text_are_bounded_sorted_and_in_vocabulary(title: str, body: str, learned: bool) -> None:
    tags = suggest_areas(title, body, _LEARNED if learned else None)

    assert len({tag.name for tag in tags}) == len(tags) <= MAX_AREAS
    assert {tag.name for tag in tags} <= {*AreaTag}
    assert all(0 < tag.confidence < 1 for tag in tags)
    assert [tag.confidence for tag in tags] == sorted((tag.confidence for tag in tags), reverse=True)
    assert tags == suggest_areas(title, body, _LEARNED if learned else None)


_LEARNED = train_areas(EXAMPLES)


@pytest.mark.parametrize("piece", ["api ", "a", "drop down ", "\u0130", "slow ui css ", "_", "\x00"])
def test_areas_for_hostile_text_terminate(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))

    assert len(suggest_areas(text, text)) <= MAX_AREAS
    assert len(suggest_areas(text, text, _LEARNED)) <= MAX_AREAS


def test_evaluation_reports_labelled_rows_and_predictions(tmp_path: Path) -> None:
    rows = [
        ("Search is slow", ["performance"]),
        ("XSS in the profile name", ["security"]),
        ("Search is slow with many documents", ["backend"]),
        ("Odd", ["frontend"]),
        ("Memory leak", []),
    ]
    data = tmp_path / "data.jsonl"
    data.write_text(
        "".join(
            json.dumps({"repo": "us/shop", "title": title, "body": "", "generic": generic}) + "\n"
            for title, generic in rows
        )
    )

    report = evaluate(None, data)["repositories"]["us/shop"]["lexicon"]

    assert (report["rows"], report["all_rows"]["rows"], report["rows_without_prediction"]) == (4, 5, 1)
    assert report["areas"]["performance"] == {"f1": 0.6667, "true": 1, "predicted": 2, "right": 1}
    assert report["micro_f1"] == round(2 * 2 / (4 + 3), 4)
    assert report["all_rows"]["micro_f1"] == round(2 * 2 / (4 + 4), 4)
    assert "trained" in evaluate(data, data)["repositories"]["us/shop"]


def test_calibration_is_increasing_and_reproducible() -> None:
    titles = {
        "frontend": "Button",
        "backend": "Database migration",
        "performance": "Slow search",
        "security": "XSS",
        "testing": "Flaky test suite",
        "i18n": "German translation",
        "build-ci": "Build fails with gcc",
        "api": "REST API endpoint",
        "documentation": "Typo in the docs",
    }
    rows = [
        {"repo": "us/shop", "title": title, "body": "", "generic": [area]} for area, title in titles.items()
    ] * 5

    calibration = calibrate(rows)

    assert calibration == calibrate(rows)
    assert all(curve["slope"] > 0 > curve["bias"] for curve in calibration["areas"].values())
