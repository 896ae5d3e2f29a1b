"""What the local enricher makes of an issue."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.enrichment.areas import MAX_AREAS
from app.enrichment.interface import IssueText
from app.enrichment.local import LocalEnricher
from app.enrichment.summary import MAX_CHARS, PREFIX
from contracts.vocabulary import AreaTag, TypeTag, is_tag

enrich = LocalEnricher().enrich


def tags(title: str, description: str = "") -> list[str]:
    return [tag.name for tag in enrich(IssueText(title, description)).tags]


@pytest.mark.parametrize(
    ("title", "description", "expected"),
    [
        ("Login button not working", "The login button on the homepage does not respond.", ["bug", "frontend"]),
        ("App crashes on start", "", ["bug"]),
        ("Add dark mode", "It would be nice to have a dark theme.", ["feature", "frontend"]),
        ("How do I reset the archive?", "", ["question"]),
        ("Typo in the README", "The documentation says `instal`.", ["documentation"]),
        ("Report page is slow", "It takes too long with a large dataset.", ["performance"]),
        ("Stored XSS in the comment field", "A security hole: scripts run.", ["security"]),
        ("Weekly meeting notes", "We met.", []),
    ],
)
def test_tags_of_plain_issues(title: str, description: str, expected: list[str]) -> None:
    assert tags(title, description)[: len(expected)] == expected
    assert bool(tags(title, description)) == bool(expected)


def test_summary_is_the_title_and_the_sentence_that_adds_most() -> None:
    result = enrich(
        IssueText(
            "[Bug]: Export is empty",
            "### Environment\nDebian\n### Description\nHi all!\n"
            "The CSV export of a monthly report has no rows since the last upgrade. It worked before.",
        )
    )

    assert result.summary == (
        "AI Summary: Export is empty. The CSV export of a monthly report has no rows since the last upgrade."
    )


def test_a_title_alone_is_its_summary() -> None:
    assert enrich(IssueText("Export is empty", "")).summary == "AI Summary: Export is empty"


def test_a_title_of_nothing_but_markup_still_has_a_summary() -> None:
    assert enrich(IssueText("```", "")).summary == "AI Summary: ```"


def test_a_long_title_is_cut_at_a_word() -> None:
    summary = enrich(IssueText("word " * 50 + "end", "")).summary

    assert summary.endswith("word…")
    assert len(summary) <= len(PREFIX) + MAX_CHARS


def test_same_text_same_result_and_its_origin_is_told() -> None:
    issue = IssueText("Export is empty", "No rows.")

    assert enrich(issue) == enrich(issue)
    provenance = enrich(issue).provenance
    assert (provenance.provider, provenance.input_sha256) == ("local", issue.digest())


@given(st.text(min_size=1, max_size=255).filter(str.strip), st.text(max_size=3000))
def test_any_text_gives_a_bounded_summary_and_tags_of_the_vocabulary(title: str, description: str) -> None:
    result = enrich(IssueText(title, description))

    assert result.summary.startswith(PREFIX)
    assert len(PREFIX) < len(result.summary) <= len(PREFIX) + MAX_CHARS
    names = [tag.name for tag in result.tags]
    assert all(is_tag(name) for name in names)
    assert sum(name in set(TypeTag) for name in names) <= 1
    assert sum(name in set(AreaTag) for name in names) <= MAX_AREAS
    assert all(0 < tag.confidence < 1 for tag in result.tags)


@pytest.mark.parametrize(
    "pattern",
    [
        "[",
        "<!--",
        " ",
        "`",
        "* ",
        "[a](",
        "<a ",
        "word ",
        "1. ",
        "\n",
        "A. ",
        ">",
        "_",
        "a:b\n",
        "(",
        "<",
        "#",
        "at a.b(",
    ],
)
def test_hostile_text_of_full_length_comes_to_an_end(pattern: str) -> None:
    """A quadratic pattern would run for minutes here; the suite's time limit would end it."""
    text = (pattern * (65_536 // len(pattern) + 1))[:65_536]

    assert enrich(IssueText("Title", text)).summary.startswith("AI Summary: Title")


def test_confidences_stay_below_one() -> None:
    title = "crash bug regression exception broken error fails failure css button layout modal tooltip"

    assert all(tag.confidence < 1 for tag in enrich(IssueText(title, title)).tags)
