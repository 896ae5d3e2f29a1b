"""Results of the local enricher."""

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
def test_tags_for_clear_issue_start_with_expected_tags(title: str, description: str, expected: list[str]) -> None:
    assert tags(title, description)[: len(expected)] == expected
    assert bool(tags(title, description)) == bool(expected)


def test_summary_is_title_and_most_informative_sentence() -> None:
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


def test_summary_without_description_is_title() -> None:
    assert enrich(IssueText("Export is empty", "")).summary == "AI Summary: Export is empty"


def test_summary_of_markup_title_is_not_empty() -> None:
    assert enrich(IssueText("```", "")).summary == "AI Summary: ```"


def test_summary_of_long_title_is_cut_at_word() -> None:
    summary = enrich(IssueText("word " * 50 + "end", "")).summary

    assert summary.endswith("word…")
    assert len(summary) <= len(PREFIX) + MAX_CHARS


def test_enrichment_of_same_text_is_identical_and_has_provenance() -> None:
    issue = IssueText("Export is empty", "No rows.")

    assert enrich(issue) == enrich(issue)
    provenance = enrich(issue).provenance
    assert (provenance.provider, provenance.input_sha256) == ("local", issue.digest())


@given(st.text(min_size=1, max_size=255).filter(str.strip), st.text(max_size=3000))
def test_enrichment_of_any_text_is_bounded_and_in_vocabulary(title: str, description: str) -> None:
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
def test_enrichment_of_hostile_text_at_maximum_length_terminates(pattern: str) -> None:
    """Detect quadratic patterns: they would exceed the time limit of the suite."""
    text = (pattern * (65_536 // len(pattern) + 1))[:65_536]

    assert enrich(IssueText("Title", text)).summary.startswith("AI Summary: Title")


def test_tag_confidence_with_much_evidence_is_below_one() -> None:
    title = "crash bug regression exception broken error fails failure css button layout modal tooltip"

    assert all(tag.confidence < 1 for tag in enrich(IssueText(title, title)).tags)
