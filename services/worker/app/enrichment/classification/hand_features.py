"""Hand-made features of an issue's form: questions, code, traces, templates and lengths."""

import math
import re
from collections.abc import Sequence

import numpy as np

from app.enrichment.classification.linear import Floats

_VERBS = (
    "add|allow|support|enable|provide|implement|introduce|make|let|show|create|option|ability|improve|update|remove|"
    "use|extend|expose"
)
_IN_TITLE = {
    "requests action": rf"^\W{{0,9}}(?:\[[^\]\n]{{0,30}}\]\s?|feature request\W{{0,3}}|please\s)?(?:{_VERBS})\b",
    "how-to question": r"\bhow (?:to|do|can|should|does)\b",
    "question mark": "[?\N{FULLWIDTH QUESTION MARK}]",
    "begins as a question": (
        r"^\W{0,9}(?:what|why|where|when|which|who|is|are|can|could|does|do|should|has|how|any)\b"
    ),
    "names a defect": (
        r"\b(?:bug|error|crash\w{0,5}|fail\w{0,5}|broken|wrong|not work\w{0,5}|doesn'?t|does not|can'?t|cannot|"
        r"exception|segfault|incorrect\w{0,5})\b"
    ),
    "names a wish": r"\b(?:feature|request|proposal|suggestion|wish|enhancement|rfc|"
    r"support for|option to|ability)\b",
    "names documentation": r"\b(?:docs?|documentation|readme|typos?|docstring|manual|tutorial|guide|example)\b",
    "begins with a label": r"^[^:\n]{1,24}:",
    "begins with a bracket": r"^\[",
    "contains code": r"`|\w\(\)|\w\.\w|_\w|::",
}
_IN_DESCRIPTION = {
    "error": r"\b(?:error|exception|traceback|segmentation|crash)",
    "steps": r"steps to reproduce|repro steps|reproduc",
    "expectation": r"expected behaviou?r|expected result|actual|current behaviou?r|what is expected",
    "version": r"\bv?\d{1,4}\.\d{1,4}\b",
    "wish": (
        r"would be (?:nice|great|useful|helpful|good|cool)|it'd be|would like|"
        r"feature request|propos|i wish|suggest"
    ),
    "help": (
        r"\bhow (?:to|do|can|should) |is there (?:a|any) way|is it possible|wondering|any help|help me|"
        r"thanks in advance|question"
    ),
    "picture": r"!\[|<img",
    "link": r"https?://\S",
    "comment": r"<!--",
    "no response": r"_no response_",
    "other issue": r"(?:^|\s)#\d{2,6}\b",
    "first person": r"\bi(?:'m| am)? (?:try|tried|trying|want|need|have|get|got)",
}
_TITLE_PATTERNS = tuple(re.compile(pattern, re.IGNORECASE) for pattern in _IN_TITLE.values())
_DESCRIPTION_PATTERNS = tuple(re.compile(pattern, re.IGNORECASE) for pattern in _IN_DESCRIPTION.values())
_TRACE = re.compile(
    r"\s{0,9}(?:at\s[\w$.<>\[\]]{1,200}\s?\(|File \"|Traceback|Caused by:|#\d{1,3} 0x|"
    r".{0,60}(?:Error|Exception)\b:)"
)
_LIST_ITEM = re.compile(r"\s{0,9}[-*]\s")

HAND_FEATURE_NAMES = (
    *(f"title: {name}" for name in _IN_TITLE),
    *_IN_DESCRIPTION,
    "words of the title",
    "code",
    "length of code",
    "length of text",
    "nearly empty",
    "headings",
    "questions",
    "a question",
    "trace",
    "list",
)


def hand_features(
    title: str, description: str, prose: Sequence[str], headings: Sequence[str], code: Sequence[str]
) -> Floats:
    """Return the features in the order of HAND_FEATURE_NAMES: booleans as 0 or 1, counts as about 0 to 2."""
    questions = sum(line.count("?") for line in prose)
    values = [
        *(pattern.search(title) is not None for pattern in _TITLE_PATTERNS),
        *(pattern.search(description) is not None for pattern in _DESCRIPTION_PATTERNS),
        min(len(title.split()), 20) / 10,
        bool(code),
        math.log1p(sum(map(len, code))) / 5,
        math.log1p(sum(map(len, prose))) / 5,
        len(description.strip()) < 20,
        min(len(headings), 12) / 5,
        min(questions, 5) / 2,
        questions > 0,
        any(_TRACE.match(line) for line in (*prose, *code)),
        sum(_LIST_ITEM.match(line) is not None for line in prose) > 3,
    ]
    return np.array(values, dtype=np.float64)
