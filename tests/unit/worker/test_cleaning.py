"""Separation of prose from logs, code and template text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.enrichment.cleaning import clean_inline, paragraphs

ISSUE = """\
<!-- Please search the existing issues first. -->
### Describe the bug

The [export](https://example.org/export) button does **nothing** when the report has `0` rows.

### To reproduce
- [x] I searched
1. Open an empty report

```python
raise SystemExit("not prose")
```

    indented = code()

> quoted from somebody

| Key | Value |
|-----|-------|
| a   | b     |

Traceback (most recent call last):
  File "a.py", line 1, in <module>
ValueError: not prose

2026-11-01 10:00:00 ERROR worker: not prose

### Environment
- OS: Debian 12
- Version: 4.2
### Additional context
_No response_
"""


def texts(markdown: str) -> list[str]:
    return [paragraph.text for paragraph in paragraphs(markdown)]


def test_paragraphs_of_template_issue_contain_only_prose() -> None:
    assert texts(ISSUE) == [
        "The export button does nothing when the report has 0 rows.",
        "Open an empty report",
    ]


def test_paragraphs_of_sections_have_section_weights() -> None:
    assert [paragraph.weight for paragraph in paragraphs(ISSUE)] == [2, 0]


@pytest.mark.parametrize(
    "noise",
    [
        "```\ncode that never ends",
        "~~~js\nlet a = 1;\n~~~",
        "<!-- a comment\nover lines -->",
        "    at com.example.Main.run(Main.java:7)",
        "Caused by: java.lang.NullPointerException: null",
        "$ npm install\nnpm ERR! code 1",
        "function f() {\n}",
        "PHP version: 8.1",
        "- [ ] I have read the guide",
        "Please describe the problem",
        "A clear and concise description of what the bug is.",
        "![screenshot](https://example.org/a.png)",
        "> quoted",
        "N/A",
        "<pre>\nThe words of a log\n</pre>",
        "<table><tr><td>The words of a table</td></tr></table>",
        "<!-- a comment that never ends\nand hides the rest",
        "at com.example.Main.run(Main.java:7)\nat com.example.Main.main(Main.java:3)",
        "#0 /srv/app/index.php(12): App->run()",
        "in Button (created by Form)\nin div",
        "npm ERR! missing script: start",
        "GET /index.html HTTP/1.1",
        "import os\nfrom pathlib import Path\nprint(Path.cwd())",
        "Windows 10 64-bit, Chrome 117.0",
        "2.14.0",
        "VS Code version: Code 1.82.2 (abcdef, 2023-09-14)",
        "[ref]: https://example.org/a",
        "[![badge](https://example.org/b.svg)](https://example.org)",
        "On Monday, 2 March 2026 at 10:00, Somebody wrote:\n> quoted",
        "Hello everyone,",
        "Thanks in advance!",
        "Do not edit this section. It was made by the documentation's page.",
    ],
)
def test_paragraphs_with_noise_are_empty(noise: str) -> None:
    assert texts(noise) == []


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("**bold** and __bold__ and ~~gone~~", "bold and bold and gone"),
        ("see [the guide](https://example.org) now", "see the guide now"),
        ("call `run_all()` first", "call run_all() first"),
        ("a <b>tag</b> &amp; more", "a tag & more"),
        ("snake_case_name stays", "snake_case_name stays"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
    ],
)
def test_clean_inline_removes_markup(markup: str, text: str) -> None:
    assert clean_inline(markup) == text


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        (
            "### What happened?\n\nThe page stays empty.\n\n### Version\n\n4.2",
            [("The page stays empty.", "problem")],
        ),
        ("**Expected behavior**\nA list is shown.", [("A list is shown.", "expected")]),
        ("Expected result: a list is shown", [("a list is shown", "expected")]),
        ("Steps to reproduce:\n1. Open the page", [("Open the page", "steps")]),
        ("Problem\n-------\nThe page stays empty.", [("The page stays empty.", "problem")]),
        ("<h3>Description</h3><p>The page stays empty.</p>", [("The page stays empty.", "problem")]),
        (
            "The page stays empty.\n<details>\n<summary>More</summary>\nIt loads.\n</details>\nNow too.",
            [("The page stays empty.", ""), ("It loads.", "details"), ("Now too.", "")],
        ),
        ("### Schritte\nDie Seite öffnen", [("Die Seite öffnen", "steps")]),
        ("**What do you expect?** A list is shown.", [("A list is shown.", "expected")]),
    ],
)
def test_paragraphs_with_headings_have_expected_sections(markdown: str, expected: list[tuple[str, str]]) -> None:
    assert [(paragraph.text, paragraph.section) for paragraph in paragraphs(markdown)] == expected


@pytest.mark.parametrize(
    "prose",
    [
        "The problem: the export is empty since the upgrade to 4.2.",
        "When I run git push the hook fails without any message.",
        "Import of users does not work for files with more than 100 lines.",
        "In Firefox the menu (see the screenshot) covers the search field.",
        "Thanks page shows nothing after the payment",
        "ValueError: the report has no rows to export",
    ],
)
def test_paragraphs_with_prose_resembling_noise_are_kept(prose: str) -> None:
    assert prose.endswith(texts(prose)[0])


def test_paragraphs_with_prose_in_code_fence_are_kept() -> None:
    assert texts("### What happened?\n```\nThe page stays empty after the login.\n```\nMore text here.") == [
        "The page stays empty after the login.",
        "More text here.",
    ]


HOSTILE = [
    *("[", "<!--", " ", "`", "[a](", "![a](", "<a ", "<p>", "<pre>", "\n", "a\n", "**", "(", "x = 1\n", "# a\n"),
    *("&lt;", "please describe. ", "<details>\n", "```\n", "hi ", "in a ", "http://a ", "|", "界"),
]


@pytest.mark.parametrize("pattern", HOSTILE)
def test_paragraphs_of_one_megabyte_hostile_text_terminate(pattern: str) -> None:
    """Detect quadratic patterns: they would exceed the time limit of the suite."""
    text = pattern * (1_000_000 // len(pattern))

    for paragraph in paragraphs(text):
        assert len(paragraph.text) <= len(text)
    assert "<!--" not in clean_inline(text)


@given(st.text(max_size=2000))
def test_paragraphs_of_any_text_are_single_lines(text: str) -> None:
    for paragraph in paragraphs(text):
        assert paragraph.text
        assert paragraph.text == " ".join(paragraph.text.split())


MARKUP = st.lists(
    st.sampled_from(
        ["```", "~~~", "<!--", "-->", "# ", "- ", "> ", "|", "[", "](", ")", "`", "**", "\n", "    ", "word "]
    ),
    max_size=200,
).map("".join)


@given(MARKUP)
def test_paragraphs_of_any_markup_contain_no_markup(text: str) -> None:
    for paragraph in paragraphs(text):
        assert not any(mark in paragraph.text for mark in ("```", "<!--", "**", "](", "~~"))
