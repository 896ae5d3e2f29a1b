"""Removes lines of an issue's Markdown that are not prose: comments, code, logs, forms and quotes."""

import re
from collections.abc import Iterator
from typing import Final

from app.enrichment.line_kinds import is_code, is_error, is_form, is_prose
from app.enrichment.sections import WEIGHTS, classify_section, split_label

MAX_LINES: Final = 4000
"""Maximum number of lines that are read. A longer text is usually a log."""

_FENCE = re.compile(r"\s*(?:[-*+]\s+|\d{1,3}[.)]\s+)?(`{3,}|~{3,})([^`]*)$")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s+(\S.{0,200})")
_FOLD = re.compile(r"</?details\b")
_LIST_ITEM = re.compile(r"\s*(?:[-*+\u2022]|\d{1,3}[.)])\s")
_BREAK = re.compile(
    r"(?<!`)<(?:br|/?p|/?div|/?li|/?ul|/?ol|hr|/summary|/h[1-6])(?:\s[^<>\n]{0,300})?/?>", re.IGNORECASE
)
_HTML_HEADING = re.compile(r"(?<!`)<(?:h[1-6]|summary)(?:\s[^<>\n]{0,100})?>", re.IGNORECASE)
_HTML_BLOCK = re.compile(
    r"(?<!`)<(pre|code|table|blockquote|script|style|svg)(?:\s[^<>\n]{0,300})?>", re.IGNORECASE
)
_MAIL = re.compile(
    r"(?:On|Am|Le|El|Op) .{4,120}(?:wrote|schrieb|a écrit|escribió|schreef).{0,60}:$|-{2,} ?(?:Original|"
    r"Forwarded) \w|"
    r"(?:From|Sent|To|Cc|Subject|Von|Gesendet|Betreff): |Sent from my |Get Outlook for |Envoyé de mon "
)
_REFERENCE = re.compile(r"\[[^\[\]\n]{1,100}\]:\s?\S")
_UNDERLINE = re.compile(r"(?:={3,}|-{3,})$")


def prose_lines(markdown: str) -> Iterator[str]:
    """Yield the stripped lines that may be prose or headings, and an empty line for each removed part."""
    lines = [line.strip() for line in _unindented(_outside_blocks(markdown))]
    code = [bool(line) and not _FOLD.match(line) and is_code(line) for line in lines]
    last = len(lines) - 1
    for index, line in enumerate(lines):
        if 0 < index < last and code[index - 1] and code[index + 1] and not line.startswith(("#", "<")):
            yield ""  # within code
        elif not line or code[index] or _is_aside(line) or (index and code[index - 1] and is_error(line)):
            yield ""
        elif index < last and len(line) < 60 and line[-1] != "." and _UNDERLINE.match(lines[index + 1]):
            yield f"# {line}"
        else:
            yield line


def _is_aside(line: str) -> bool:
    if label := split_label(line):
        return WEIGHTS[label[0]] == 0 and is_form(line)
    return bool(is_form(line) or _MAIL.match(line) or _REFERENCE.match(line))


def _outside_blocks(markdown: str) -> Iterator[str]:
    """Yield the lines, or parts of lines, outside fenced code, comments and HTML without prose."""
    if "<" in markdown:
        markdown = _HTML_HEADING.sub("\n# ", _BREAK.sub("\n", markdown))
    lines = markdown.expandtabs(4).splitlines()[:MAX_LINES]
    blocks = _Blocks(lines)
    for index, line in enumerate(lines):
        yield blocks.outside(index, line)


class _Blocks:
    """The block that is open at the current line, if any."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._end = ""
        """The end marker of the current block; empty outside of blocks."""
        self._last: dict[str, int] = {}
        self._is_below_prose_heading = False
        """The last non-empty line is a heading of a section with prose."""
        self._is_in_prose_fence = False
        """The current fence contains prose, because some forms put all answers into fences."""

    def outside(self, index: int, line: str) -> str:
        """Return the part of the line that is outside of blocks."""
        if self._end:
            rest = self._after_end(line)
            if rest is None:
                return ""
            self._end = ""
            line = rest
        if fence := _FENCE.match(line):
            self._open_fence(index, fence[1])
            return ""
        self._look_for_heading(line)
        if "<!--" in line:
            line = self._without_comments(index, line)
        if "<" in line and not self._end:
            line = self._without_html(index, line)
        if "```" in line and not self._end and line.count("```") % 2 and self._ends_later("```", index):
            line, _, _ = line.rpartition("```")
            self._end = "```"
        return line

    def _open_fence(self, index: int, marker: str) -> None:
        if self._is_in_prose_fence:
            self._is_in_prose_fence = False
            return
        following = self._lines[index + 1].strip() if index + 1 < len(self._lines) else ""
        self._is_in_prose_fence = self._is_below_prose_heading and is_prose(following) and not is_code(following)
        if not self._is_in_prose_fence:
            self._end = marker

    def _look_for_heading(self, line: str) -> None:
        if heading := _HEADING.match(line):
            self._is_below_prose_heading = WEIGHTS[classify_section(heading[1])] == 2
        elif line and not line.isspace():
            self._is_below_prose_heading = False

    def _after_end(self, line: str) -> str | None:
        """Return the text after the end of the block, or None if the block does not end in this line."""
        if self._end[0] in "`~":
            return "" if line.rstrip().endswith(self._end) else None
        _, found, rest = line.partition(self._end)
        return rest if found else None

    def _without_comments(self, index: int, line: str) -> str:
        kept: list[str] = []
        position = 0
        while (start := line.find("<!--", position)) >= 0:
            kept.append(line[position:start])
            end = line.find("-->", start + 4)
            if end < 0:
                # As on GitHub, an unclosed comment hides the rest if it starts a line. Otherwise it is a typo.
                if self._ends_later("-->", index) or not line[:start].strip():
                    self._end = "-->"
                    return " ".join(kept)
                kept.append(line[start:].replace("<!--", " "))
                return " ".join(kept)
            position = end + 3
        kept.append(line[position:])
        return " ".join(kept)

    def _without_html(self, index: int, line: str) -> str:
        kept: list[str] = []
        position = 0
        while tag := _HTML_BLOCK.search(line, position):
            closing = f"</{tag[1]}>"
            end = line.find(closing, tag.end())
            if end < 0 and not self._ends_later(closing, index):
                break
            kept.append(line[position : tag.start()])
            if end < 0:
                self._end = closing
                return " ".join(kept)
            if tag[1].lower() == "code":
                kept.append(line[tag.end() : end])
            position = end + len(closing)
        kept.append(line[position:])
        return " ".join(kept)

    def _ends_later(self, end: str, index: int) -> bool:
        if end not in self._last:
            self._last[end] = max((i for i, line in enumerate(self._lines) if end in line), default=-1)
        return self._last[end] > index


def _unindented(lines: Iterator[str]) -> Iterator[str]:
    """Yield the lines, and an empty line for each line of indented code."""
    after_blank = True
    in_list = False
    for line in lines:
        filled = bool(line) and not line.isspace()
        indented = line.startswith("    ") and after_blank and not in_list
        yield "" if indented else line
        after_blank = not filled or indented
        in_list = bool(_LIST_ITEM.match(line)) or (in_list and (not filled or line.startswith(" ")))
