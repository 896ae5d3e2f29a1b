"""Summaries consist of the title and the most informative sentence, without code or markup."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.enrichment.cleaning import paragraphs
from app.enrichment.ranking import load_model
from app.enrichment.sentences import sentences
from app.enrichment.summary import MAX_CHARS, PREFIX, choose_sentence, cut_at_clause, summarise


def summary(title: str, description: str) -> str:
    return summarise(title, paragraphs(description)).removeprefix(PREFIX)


REPORT = """\
### Is there an existing issue for this?
- [x] I have searched the existing issues
### Environment
Ubuntu 22.04, Firefox 117
### Describe the bug
Hi all! I noticed that the monthly export drops the last row when a report spans two years.
```python
export(report, years=2)
```
It worked before.
### Steps to reproduce
1. Open the report
2. Press the export button
### Expected behaviour
All rows are exported.
### Additional context
_No response_
"""


def test_summary_of_report_is_title_and_main_sentence() -> None:
    assert summary("[Bug]: CSV is incomplete", REPORT) == (
        "CSV is incomplete. The monthly export drops the last row when a report spans two years."
    )


def test_best_sentence_of_report_is_main_sentence() -> None:
    assert choose_sentence(paragraphs(REPORT)) == (
        "The monthly export drops the last row when a report spans two years."
    )


def test_summary_with_repeated_title_is_title() -> None:
    title = "The login button does nothing on the start page"

    assert summary(title, "The login button does nothing on the start page.") == title


def test_sentence_with_two_new_words_is_chosen_only_without_a_better_one() -> None:
    short, better = "This is a test issue for Celery enrichment.", "Celery enriches no issue since the upgrade."

    assert summary("Test Issue", short) == f"Test Issue. {short}"
    assert summary("Test Issue", f"{short} {better}") == f"Test Issue. {better}"


@pytest.mark.parametrize(
    "noise",
    [
        "```\nvalue = compute(1)\n```",
        "    value = compute(1);\n    return value;",
        "const value = compute(1);\nif (value > 2) {\n  throw new Error('no');\n}",
        "Traceback (most recent call last):\n  File \"a.py\", line 3, in run\nKeyError: 'a'",
        "2026-01-02 10:00:00 ERROR queue: the worker has stopped unexpectedly",
        "$ make install\nmake: *** No rule to make target 'install'.  Stop.",
        "| Name | Value |\n|---|---|\n| the first name | the first value |",
        "> somebody else wrote this long sentence about it",
        "<!-- Please describe what the problem is, in your own words. -->",
        "- [x] I have read the contributing guide and the code of conduct",
        "**Describe the bug**\nA clear and concise description of what the bug is.",
        "OS: Debian 12\nBrowser: Firefox 117.0\nPHP version: 8.2",
        "Windows 10 64-bit, Chrome 117",
        "### Version\n2.14.0\n### Reproduction link\nhttps://example.org/a/b",
        "<details><summary>Logs</summary>\n\n```\nstarted\n```\n</details>",
        "Thanks in advance for any help!",
    ],
)
def test_summary_with_noise_is_title(noise: str) -> None:
    assert summary("Export fails", noise) == "Export fails"


@pytest.mark.parametrize(
    ("title", "description", "expected"),
    [
        (
            "Export ist leer",
            "Hallo zusammen,\nseit dem letzten Update enthält die exportierte Datei keine Zeilen mehr.\nGrüße",
            "Export ist leer. seit dem letzten Update enthält die exportierte Datei keine Zeilen mehr.",
        ),
        (
            "Export vide",
            "Bonjour,\n\nDepuis la mise à jour, le fichier exporté ne contient plus aucune ligne.\n\nMerci !",
            "Export vide. Depuis la mise à jour, le fichier exporté ne contient plus aucune ligne.",
        ),
        (
            "导出为空",
            "升级之后导出的文件里没有任何数据。以前的版本一切正常。",
            "导出为空. 升级之后导出的文件里没有任何数据。",
        ),
    ],
)
def test_summary_in_other_language_adds_main_sentence(title: str, description: str, expected: str) -> None:
    assert summary(title, description) == expected


def test_summary_without_punctuation_ends_before_steps() -> None:
    body = "the toolbar disappears after a print preview how to repeat open any document and choose print preview"

    assert summary("toolbar gone", body) == "toolbar gone. the toolbar disappears after a print preview"


@pytest.mark.parametrize(
    ("sentence", "clause"),
    [
        (
            "The export drops the last row, which nobody notices until the books are closed.",
            "The export drops the last row",
        ),
        ("I noticed that the export drops the last row (seen in May).", "The export drops the last row"),
        ("The export worked well last year, but now it drops the last row.", None),
        ("When I export a report of two years, the last row is missing.", None),
        ("The export fails, always.", None),
    ],
)
def test_first_clause_is_offered_if_it_is_complete(sentence: str, clause: str | None) -> None:
    clauses = [one.text for one in sentences(paragraphs(sentence)) if one.first_clause]

    assert clauses[-1:] == ([clause] if clause else [])


def test_summary_with_template_policy_is_title() -> None:
    policy = "<em>As per our policy, we only address code/doc bugs and feature requests. tag:bug_template</em>"

    assert summary("Export fails", policy) == "Export fails"


def test_cut_at_clause_of_long_sentence_ends_after_clause() -> None:
    text = "The export of a report drops its last row, which nobody notices " + "until the books are closed " * 8

    assert cut_at_clause(text, 80) == "The export of a report drops its last row…"
    assert len(cut_at_clause("x" * 300)) == MAX_CHARS


def test_summary_of_title_with_labels_and_braces_is_clean() -> None:
    assert summary("[Bug]: `<Menu>` ignores {enabled}", "") == "Menu ignores enabled"


_MARKUP = re.compile(r"```|<!--|</?[a-z]+>|\]\(|\*\*")


@given(st.text(min_size=1, max_size=200).filter(str.strip), st.text(max_size=2000))
def test_summary_of_any_text_is_bounded_and_deterministic(title: str, description: str) -> None:
    text = summarise(title, paragraphs(description))

    assert text == summarise(title, paragraphs(description))
    assert text.startswith(PREFIX)
    assert len(PREFIX) < len(text) <= len(PREFIX) + MAX_CHARS


@given(
    st.lists(
        st.sampled_from(
            ["```", "<!--", "-->", "# ", "- ", "> ", "|", "[a](b) ", "`", "**", "\n", "    ",
             "the report is empty ", ". It ", "<p>", "</p>", "<details>", "{", "};", "_no response_"]
        ),
        max_size=120,
    ).map("".join)
)  # fmt: skip
def test_summary_of_any_markup_contains_no_markup(description: str) -> None:
    assert not _MARKUP.search(summary("Title", description))


def test_ranking_model_contains_expected_features() -> None:
    model = load_model()

    assert model.words["should"] != model.words.get("crash")
    assert model.weights["recurring"] > 0 > model.weights["log_index"]
