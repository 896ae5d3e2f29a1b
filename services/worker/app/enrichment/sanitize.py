"""Sanitizes text: one line without markup, links or mentions."""

import re
import unicodedata

from app.enrichment.cleaning import clean_inline

INPUT_CHARS = 4000
"""Maximum characters of a model's text that are processed."""

_LINK = re.compile(
    r"(?:[a-z][a-z0-9+.-]{0,20}:)?//\S{0,4000}"
    r"|\bwww\.\S{0,4000}"
    r"|\b(?:javascript|vbscript|data|file|mailto|tel):\S{1,4000}"
    r"|\b[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}/\S{0,4000}",
    re.IGNORECASE,
)
_MARKS = str.maketrans("", "", "@<>`")
_SPACES = re.compile(r"\s+")


def strip_invisible(text: str) -> str:
    """Return the text without control, format, private and unassigned characters. White space becomes a space."""
    return "".join(
        " " if character.isspace() else character
        for character in text
        if character.isspace() or unicodedata.category(character)[0] != "C"
    )


def to_one_line(text: str, room: int) -> str:
    """Return at most `room` characters of plain text, possibly none."""
    # Normalise first, because later software may convert a full-width colon or at-sign to an ordinary one.
    text = strip_invisible(unicodedata.normalize("NFKC", text[:INPUT_CHARS]))
    text = clean_inline(text).translate(_MARKS)
    text = _LINK.sub(" ", text).replace("](", "] (")
    return truncate_at_word(_SPACES.sub(" ", text).strip(), room)


def truncate_at_word(text: str, room: int) -> str:
    """Return the text; if it is longer than `room` characters, truncate it at a word."""
    if len(text) <= room:
        return text
    cut = text[: room - 1]
    at_word = cut.rsplit(" ", 1)[0] if " " in cut[room // 2 :] else cut
    return at_word.rstrip(" ,;:-(") + "…"


def truncate_bytes(text: str, room: int) -> str:
    """Return as many whole characters as fit into `room` bytes of UTF-8."""
    return text.encode(errors="ignore")[: max(room, 0)].decode(errors="ignore")
