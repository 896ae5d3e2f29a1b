"""Evaluates summaries: the overlap of the chosen sentence with the title, and forbidden content.

The reporter's title serves as the reference. The sentence that is chosen without the title is compared with it
(ROUGE-L F1), for issues whose body contains prose. Complete summaries include the title. They are only checked for
markup, code and template text.
"""

import re
from pathlib import Path

from app.enrichment.cleaning import Paragraph, paragraphs
from app.enrichment.summary import PREFIX, choose_sentence, cut_at_clause, summarise
from evaluation.issues import read_rows
from evaluation.rouge import rouge_l, rouge_words

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_MARKUP = {
    "fence or code span": re.compile(r"`|~~~"),
    "html": re.compile(r"</?[a-zA-Z][\w-]*(?:\s[^<>]*)?/?>|<!--|-->|&(?:nbsp|lt|gt|amp|quot);"),
    "markdown": re.compile(r"!\[|\]\(|\*\*|(?:^|\. )#{1,6} |^\s*[-*] \[[ x]\]|\|\s*:?-{3}"),
    "url": re.compile(r"https?://"),
    "code": re.compile(
        r"[{};]\s*$|[{}]|=>|[=!]==|&&|\|\||\w\([^)]*\)\s*[;{]|\bfunction\s*\([^)]*\)\s*\{|\b(?:const|let|"
        r"var) \w+ =|"
        r"\bdef \w+\(|\bimport \w+ (?:as \w+|from ['\"])|\bfrom [\w.]+ import \w+$|#include <|\$\w+->|<\?php"
    ),
    "trace or log": re.compile(
        r"Traceback \(most|File \"[^\"]+\", line|\bat [\w.$]+\([\w.]+:\d+\)|\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d|"
        r"npm ERR"
    ),
    "template": re.compile(
        r"_?no response_?\b|clear and concise description|please (?:describe|provide a|fill|include (?:a|the))|"
        r"steps to reproduce the behaviou?r|if applicable, add|add any other context|is there an existing issue|"
        r"do you want to request a|what is the (?:current|expected) behaviou?r|describe (?:the bug|alternatives)",
        re.IGNORECASE,
    ),
}
"""Patterns that no summary may contain, independent of the cleaning code."""
_TITLES_MAY_HOLD = {"code", "trace or log"}


def evaluate(train: Path | None, data: Path) -> dict[str, object]:
    """Return ROUGE-L of the chosen sentences and of baselines, and the number of summaries with markup."""
    del train
    rows = read_rows(data, "title", "body")
    totals = dict.fromkeys(("rouge_l", "first_35_characters", "lead_sentence", "oracle"), 0.0)
    with_prose = 0
    marked: dict[str, int] = dict.fromkeys(_MARKUP, 0)
    with_markup = 0
    for row in rows:
        title, body = row["title"] or "", row["body"] or ""
        prose = paragraphs(body)
        kinds = _kinds_of_markup(summarise(title, prose).removeprefix(PREFIX), title)
        with_markup += bool(kinds)
        for kind in kinds:
            marked[kind] += 1
        if prose:
            with_prose += 1
            for name, value in _scores(title, body, prose).items():
                totals[name] += value
    means = {name: round(total / with_prose, 4) if with_prose else None for name, total in totals.items()}
    return {
        "task": "summary",
        **means,
        "with_markup": with_markup,
        "with_markup_share": round(with_markup / len(rows), 5),
        "with_markup_kinds": {kind: count for kind, count in marked.items() if count},
        "rows": len(rows),
        "rows_with_prose": with_prose,
    }


def _scores(title: str, body: str, prose: list[Paragraph]) -> dict[str, float]:
    reference = rouge_words(title)
    every = [sentence for paragraph in prose for sentence in _SENTENCE_END.split(paragraph.text)]

    def against(text: str) -> float:
        return rouge_l(rouge_words(text), reference)

    return {
        "rouge_l": against(cut_at_clause(choose_sentence(prose) or "")),
        "first_35_characters": against(body[:35]),
        "lead_sentence": against(cut_at_clause(every[0])),
        "oracle": max(against(cut_at_clause(sentence)) for sentence in every[:100]),
    }


def _kinds_of_markup(summary: str, title: str) -> list[str]:
    """Return the kinds of forbidden content in the summary. Code from the title is allowed."""
    return [
        kind
        for kind, pattern in _MARKUP.items()
        if pattern.search(summary) and not (kind in _TITLES_MAY_HOLD and pattern.search(title))
    ]
