"""Classifies the sections of an issue by their headings."""

import re
from typing import Final

PROBLEM, FEATURE, EXPECTED = "problem", "feature", "expected"
STEPS, ENVIRONMENT, LOGS, DETAILS, CHECKLIST = "steps", "environment", "logs", "details", "checklist"
UNKNOWN: Final = ""
"""Text before the first heading, and text under an unknown heading."""

WEIGHTS: Final = {
    PROBLEM: 2,
    FEATURE: 2,
    EXPECTED: 1,
    UNKNOWN: 1,
    STEPS: 0,
    ENVIRONMENT: 0,
    LOGS: 0,
    DETAILS: 0,
    CHECKLIST: 0,
}
"""2 for sections that describe the issue, 0 for sections of details."""

_HEADINGS: Final = (
    # The first match in this order counts: `Have you reproduced the bug` is not a problem section.
    (
        CHECKLIST,
        (
            r"check ?list|already|have you|are you|can you|would you|will you|i have|issue type|type of|existing|"
            r"contribut|often|severity|priority|custom code|readiness|website or app|détails du document"
        ),
    ),
    (
        DETAILS,
        (
            r"additional|alternativ|workaround|possible (?:solution|fix)|potential|screenshot|recording|related|"
            r"references?$|"
            r"links?\b|notes?$|todo|tasks?$|acceptance|wer profitiert|informations compl|weitere|zusätzlich|"
            r"capture"
        ),
    ),
    (LOGS, r"\blogs?\b|trace|\boutputs?\b|stack|error message|console|automated|crash report|konsole"),
    (
        ENVIRONMENT,
        (
            r"environment|versions?\b|system\b|platform|browser|desktop|mobile|smartphone|device|specification|"
            r"\bos\b|operating|setup|config|compiler|\bgpu\b|\bcuda|umgebung|environnement|installed|plugins?$|"
            r"how did you|\binfo$"
        ),
    ),
    (
        STEPS,
        (
            r"\bsteps?\b|reproduc|\brepro\b|\bcode\b|example|snippet|test ?case|demo\b|how to repeat|schritte|"
            r"étapes|"
            r"reproduzier|pasos|\bsource\b"
        ),
    ),
    (EXPECTED, r"expect|should (?:be|happen)|erwartet|attendu|esperad|desired (?:behaviou?r|result)"),
    (
        PROBLEM,
        (
            r"do you want|\bbugs?\b|problem|what happen|actual|current|issue\b|descri|summary|symptom|fehler|"
            r"beschreibung|problème|"
            r"happening|observed|motivation|background|overview|comportamiento|descripción|descrição|context$|"
            r"\bwhy\b"
        ),
    ),
    (
        FEATURE,
        (
            r"feature|request|propos|suggest|solution|idea|enhancement|workflow|use case|goal|wunsch|vorschlag|"
            r"fonctionnalité|"
            r"like to see|improve"
        ),
    ),
)
_SECTION = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _HEADINGS), re.IGNORECASE)

_LABEL = re.compile(r"(?:[-*+]\s{1,4})?(?:\d{1,2}[.)]\s{1,4})?([^\W\d_][\w /()'\u2019-]{2,50})\s?:(?:\s+|$)")
_KNOWN_LABEL = re.compile(
    r"(?:the )?(?:steps(?: (?:to|for) \w{4,12})?(?: the (?:behaviou?r|bug|issue|problem))?|how to (?:reproduce|"
    r"repeat)|"
    r"to reproduce|reproduc(?:e|tion)|expected(?: (?:behaviou?r|results?|outcome|output))?|"
    r"(?:actual|current|observed)(?: (?:behaviou?r|results?|outcome|output))|actual|"
    r"problem|issue|bug|summary|description|feature(?: request)?|proposal|proposed (?:solution|change)|"
    r"environment|system(?: info(?:rmation)?)?|(?:error |debug )?logs?|stack ?trace|backtrace|"
    r"problème|description du problème|étapes|problem ?beschreibung|fehlerbeschreibung|beschreibung|schritte)$",
    re.IGNORECASE,
)


def classify_section(heading: str) -> str:
    """Return the section of a heading, or `UNKNOWN`."""
    found: dict[str, int] = {}
    for match in _SECTION.finditer(heading[:120]):
        found.setdefault(match.lastgroup or UNKNOWN, match.start())
    return next((name for name, _ in _HEADINGS if name in found), UNKNOWN)


def split_label(line: str) -> tuple[str, str] | None:
    """Split `Expected result: it works` into its section and the rest; return None without a known label."""
    match = _LABEL.match(line)
    if match is None or not _KNOWN_LABEL.match(match[1]):
        return None
    return classify_section(match[1]), line[match.end() :]
