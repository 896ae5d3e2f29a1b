"""Prose is told from what reporters paste beside it."""

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


def test_only_prose_remains() -> None:
    assert texts(ISSUE) == [
        "The export button does nothing when the report has 0 rows.",
        "Open an empty report",
    ]


def test_sections_weigh_what_they_say() -> None:
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
    ],
)
def test_noise_is_left_out(noise: str) -> None:
    assert texts(noise) == []


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("**bold** and __bold__ and ~~gone~~", "bold and bold and gone"),
        ("see [the guide](https://example.org) now", "see the guide now"),
        ("call `run_all()` first", "call run_all() first"),
        ("a <b>tag</b> &amp; more", "a tag more"),
        ("snake_case_name stays", "snake_case_name stays"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
    ],
)
def test_inline_markup_is_taken_off(markup: str, text: str) -> None:
    assert clean_inline(markup) == text


@given(st.text(max_size=2000))
def test_any_text_is_cleaned_to_single_lines(text: str) -> None:
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
def test_any_markup_is_cleaned(text: str) -> None:
    assert all("```" not in paragraph.text and "<!--" not in paragraph.text for paragraph in paragraphs(text))
