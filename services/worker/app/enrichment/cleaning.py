"""From an issue's markdown to the prose in it, by section, in time linear in the text.

Reporters paste code, logs, stack traces, tables and filled-in templates; a summary or a tag taken from
those is noise. Every pattern below is bounded, or excludes its own opening character: naive markdown
patterns take minutes for 100,000 brackets.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s+(\S.{0,200}?)[\s#:]*$")
_BOLD_HEADING = re.compile(r"\s{0,3}(?:\*\*|__)([^*_]{2,80})(?:\*\*|__):?\s*$")
_QUOTE_OR_TABLE = re.compile(r"\s{0,3}[>|]")
_TABLE_RULE = re.compile(r"[\s|:-]{3,}$")
_CHECKBOX = re.compile(r"\s*[-*+]\s+\[[ xX]?\]")
_LIST_ITEM = re.compile(r"\s*(?:[-*+]|(\d{1,3})[.)])\s+")
_TRACE = re.compile(
    r"\s*(?:at\s+[\w$.<>\[\]]+\s?\(|File \"|Traceback|Caused by:|#\d+ |\.\.\. \d+ more|in \S+ on line \d+|"
    r"(?:[\w.]{1,80}\.)?[A-Z]\w{2,60}(?:Error|Exception|Warning)\b:)"
)
_LOG = re.compile(
    r"\s*(?:\[?\d{4}-\d\d-\d\d[T ]\d\d:|\[?\d\d:\d\d:\d\d|"
    r"\[?(?:DEBUG|INFO|WARN(?:ING)?|ERROR|FATAL|TRACE)\b[\]: ]|[$>%]\s|npm (?:ERR|WARN)|>>> )"
)
_FACT = re.compile(r"\s*(?:[-*+]\s+)?[\w ./()\-]{2,40}\s?[:=]\s{0,4}\S{0,60}(?:\s\S{1,40}){0,3}\s*$")
_CODE_END = re.compile(r"[;{}]\s*$|^\s*[})\]];?,?\s*$|^\s*<[^<>]{1,200}>\s*$|=>|\)\s*\{")

_INLINE = [
    (re.compile(r"!\[[^\[\]\n]{0,300}\]\([^()\n]{0,500}\)"), " "),
    (re.compile(r"\[([^\[\]\n]{1,300})\]\([^()\n]{0,500}\)"), r"\1"),
    (re.compile(r"</?[A-Za-z][^<>\n]{0,300}>"), " "),
    (re.compile(r"https?://\S{1,2000}"), " "),
    (re.compile(r"`([^`\n]{1,60})`"), r"\1"),
    (re.compile(r"`[^`\n]{61,300}`"), " "),
    (re.compile(r"\*{1,3}|_{2,3}|~~|`{1,3}"), ""),
    (re.compile(r"&(?:nbsp|amp|lt|gt|quot);"), " "),
    (re.compile(r"\s{1,1000}"), " "),
]

_TEMPLATE = re.compile(
    r"_?no response_?$|n/?a$|none$|"
    r"(?:please|kindly) (?:\w+ ){0,3}(?:describe|provide|include|check|read|fill|add|search|make)|"
    r"(?:a )?clear and concise|describe (?:the|your|what)|tell us|if applicable|add any other|"
    r"(?:what|how) (?:did|do|are|were|should|would) you |what (?:is|was|happened|actually)|"
    r"i have (?:searched|read|checked)|thanks? (?:you )?for|steps to reproduce|is there an existing issue|"
    r"click (?:the )?\"?preview|delete this|replace this|your environment|see above|same as above",
    re.IGNORECASE,
)

_SKIPPED_SECTIONS = re.compile(
    r"environment|version|system info|platform|steps?\b|reproduc|log|trace|output|code|example|snippet|screenshot|"
    r"checklist|contribut|additional|config|setup|browser|test case|possible|workaround|alternative",
    re.IGNORECASE,
)
_LEADING_SECTIONS = re.compile(
    r"descri|summary|problem|bug|issue|what happen|actual|current|feature|request|proposal|propose|motivation",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A run of prose. `weight` is 2 in a section that says what the issue is, 0 in one of details, else 1."""

    text: str
    weight: int


def clean_inline(text: str) -> str:
    """Return one line or paragraph without its markup."""
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    return text.strip()


def paragraphs(markdown: str) -> list[Paragraph]:
    """Return the prose of an issue's text, in order."""
    found: list[Paragraph] = []
    lines: list[str] = []
    weight = 1

    def close() -> None:
        if not lines:
            return
        text = clean_inline(" ".join(lines))
        lines.clear()
        if len(text) > 2 and not _TEMPLATE.match(text):
            found.append(Paragraph(text, weight))

    for line in _prose_lines(_without_comments(markdown)):
        heading = _HEADING.match(line) or _BOLD_HEADING.match(line)
        if heading:
            close()
            weight = _section_weight(heading[1])
        elif not line:
            close()
        elif _LIST_ITEM.match(line):
            close()
            lines.append(_LIST_ITEM.sub("", line, count=1))
        else:
            lines.append(line)
    close()
    return found


def _section_weight(heading: str) -> int:
    if _SKIPPED_SECTIONS.search(heading):
        return 0
    return 2 if _LEADING_SECTIONS.search(heading) else 1


def _without_comments(text: str) -> str:
    kept = []
    position = 0
    while (start := text.find("<!--", position)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        kept.append(text[position:start])
        position = end + 3
    kept.append(text[position:].replace("<!--", " "))
    return "".join(kept)


def _prose_lines(text: str) -> Iterator[str]:
    """Yield the lines outside code, quotes, tables, logs and traces; an empty one where some are left out."""
    fence = ""
    after_blank = True
    in_list = False
    for raw in text.expandtabs(4).splitlines():
        line = raw.rstrip()
        marker = _FENCE.match(line)
        if fence:
            if marker and marker[1].startswith(fence):
                fence = ""
            continue
        if marker:
            fence = marker[1]
            yield ""
        elif not line:
            yield ""
        elif line.startswith("    ") and after_blank and not in_list:
            continue
        elif _is_noise(line):
            yield ""
        else:
            yield line
        after_blank = not line or bool(fence) or (after_blank and line.startswith("    "))
        in_list = bool(_LIST_ITEM.match(line)) or (in_list and (not line or line.startswith(" ")))


def _is_noise(line: str) -> bool:
    return bool(
        _QUOTE_OR_TABLE.match(line)
        or _TABLE_RULE.match(line)
        or _CHECKBOX.match(line)
        or _TRACE.match(line)
        or _LOG.match(line)
        or _CODE_END.search(line[-200:])
        or _is_fact(line)
    )


def _is_fact(line: str) -> bool:
    """Tell `PHP version: 8.1` and its kind, which templates ask for, from a sentence with a colon."""
    return len(line) < 120 and bool(_FACT.match(line)) and not line.rstrip().endswith((".", "!", "?"))
