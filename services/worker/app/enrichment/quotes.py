"""Checks that a reason quotes only words of the issue."""

import re

_QUOTATIONS = re.compile(
    r"\"([^\"]+)\"|\u201c([^\u201d]+)\u201d|\u201e([^\u201c]+)\u201c|\u00ab([^\u00bb]+)\u00bb|`([^`]+)`"
    r"|(?<!\w)'([^']+)'(?!\w)|(?<!\w)\u2018([^\u2019]+)\u2019(?!\w)"
)
_WORDS = re.compile(r"\w+")


def quotes_only(reason: str, text: str) -> bool:
    """Return whether the text contains every quotation of the reason; case and punctuation are ignored."""
    words = _words(text)
    return all(_words(quotation[quotation.lastindex or 0]) in words for quotation in _QUOTATIONS.finditer(reason))


def _words(text: str) -> str:
    return f" {' '.join(_WORDS.findall(text.casefold()))} "
