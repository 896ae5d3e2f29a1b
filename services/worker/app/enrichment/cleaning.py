"""Extracts the prose from an issue's Markdown, by section, in linear time.

Reporters paste code, logs, stack traces, tables and filled-in templates, which are noise for summaries and tags.
First, lines are classified (`blocks`, `line_kinds`). Then the markup is removed from the remaining lines. Every
pattern is bounded or excludes its own opening character: naive Markdown patterns take minutes for 100,000
brackets.
"""

import re
from dataclasses import dataclass
from typing import Final

from app.enrichment.blocks import prose_lines
from app.enrichment.sections import DETAILS, UNKNOWN, WEIGHTS, classify_section, split_label
from contracts.limits import DESCRIPTION_MAX

_HEADING = re.compile(r"#{1,6}\s+(\S.{0,200}?)[\s#:]*$")
_BOLD_LEAD = re.compile(r"(?:[-*+]\s+|\d{1,2}[.)]\s+)?(\*\*|__)(.{2,400}?)\1\s*[:\-\u2013]?\s*(.*)$")
_HEADING_MAX: Final = 80
_LIST_ITEM = re.compile(r"(?:[-*+\u2022]|\d{1,3}[.)])\s+")
_ENTITIES: Final = {"&nbsp;": " ", "&amp;": "&", "&quot;": '"', "&#39;": "'", "&lt;": " ", "&gt;": " "}

_IMAGE = re.compile(r"!\[[^\[\]\n]{0,300}\]\s?(?:\([^()\n]{0,500}\)|\[[^\[\]\n]{0,100}\])")
_LINK = re.compile(r"\[([^\[\]\n]{0,300})\](?:\((?:[^()\n]|\([^()\n]{0,200}\)){0,500}\)|\[[^\[\]\n]{0,100}\])")
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,300}>")
_URL = re.compile(r"<?(?:https?|ftp)://[^\s<>]{1,2000}>?|\bwww\.[^\s<>]{3,2000}")
_CODE = re.compile(r"(`{1,3})([^`\n]{1,300})\1")
_ARROW = re.compile(r"(?<=[\s\w])\s?[-=]{1,2}>\s?(?=[\s\w\"'(])")
_NAME = re.compile(r"[\w.$@#:/\\~()\[\]'\"*+-]{1,60}|[\w.-]{1,30}(?: [\w.=/-]{1,30}){1,3}")
_EMPHASIS = re.compile(r"\*{1,3}|_{2,3}|(?<![\w/.])_(?=\w)|(?<=[\w.,!?:;)])_(?![\w/(])|~~|`{1,3}|<!-{1,2}|-->")
_EMOJI = re.compile(r"(?<!\w):[a-z][a-z0-9_+-]{1,30}:(?!\w)")
_SPACE_BEFORE = re.compile(r" ([,.;!?](?:\s|$))")
_EMPTY_BRACKETS = re.compile(r"(?<!\S)(?:\(\s{0,9}\)|\[\s{0,9}\])")

_PROMPT = re.compile(
    r"(?:as per our [\w ]{1,40}, )?we only address|tag:\w{1,40}$|"
    r"_?no response_?$|n/?a\.?$|none\.?$|\.{3}$|(?:yes|no|every time|sometimes|always)[.!]?$|"
    r"(?:please|kindly) (?:\w+ ){0,3}(?:describe|provide|include|check|read|fill|search|make sure|note|do not|"
    r"don't|remove|"
    r"ensure|answer|complete|use the|attach|specify|be)\b|"
    r"(?:a )?clear and concise|describe (?:the|your|what|how|any|alternatives)\b|tell us|if applicable|"
    r"if relevant|"
    r"(?:add|include|provide|share|explain|list|paste|insert|enter|put|type|write|drag) (?:here|below|any|all|"
    r"your|a link|"
    r"a screenshot|screenshots|as much|the relevant)\b|what (?:did|do|were) you (?:do|expect|try|see)|"
    r"what (?:actually )?happen(?:s|ed)(?: instead)?\?|what is the (?:current|expected|actual)\b|"
    r"i have (?:searched|read|checked)|steps to reproduce|is there an existing issue|go to '|click on '|"
    r"scroll down to '|"
    r"see error|is your feature request related|do you want to (?:request|report)|(?:which|"
    r"what) versions?\b[^.!]{0,80}\?|"
    r"if the current behaviou?r|this (?:issue|bug) (?:exists|occurs) (?:in|on) |have you (?:read|tried|searched|"
    r"checked|reproduced)|"
    r"click (?:the|to) \W?(?:preview|expand)|(?:delete|replace|remove) this|your environment|(?:see|"
    r"same as) above|"
    r"(?:do not|please do not|ne pas|nicht) (?:edit|modif|remove|delete|ändern)|before (?:opening|submitting|"
    r"creating|posting)|"
    r"search for (?:duplicate|existing)|read the contribut|ex(?:ample)?\. |\[?(?:e\.g\.|eg|"
    r"for example)[^a-z]{0,2}$|"
    r"\W*ne pas modifier|\[(?:tapez|enter|insert|describe|type|your|add)\b|bitte (?:beschreib|füge|gib)|"
    r"(?:veuillez|merci de) (?:décrire|fournir|préciser)|originally reported (?:by|in|at)|reported (?:in|by|"
    r"on) \S{0,40}$|"
    r"does this (?:issue|bug|problem) (?:occur|happen)s? when|add (?:issue|your|a) \w+ here|"
    r"\W*please fill (?:in|out)|"
    r"as much detail as possible|relevant links to|as per our \w+ policy|if you open a github issue|"
    r"the form below|"
    r"(?:feature requests?|bug reports?|when (?:suggesting|reporting|submitting))\b.{0,40}\binclude\b|"
    r"please go to stack|"
    r"it must be a bug|it shouldn't be a|those go here|if including tracebacks|large logs and files|"
    r"try to provide a reprod|"
    r"you can (?:also )?(?:collect|obtain|record) |be sure to convey|have i written custom|"
    r"\(\d+ \w+ extensions excluded|"
    r"patch to \w+ has the same branch|mobile device \(e\.g|link to code example|documentation feature request$|"
    r"report a bug\.?$|(?:bug|feature|support|question|feature request)$",
    re.IGNORECASE,
)
_COURTESY = re.compile(
    r"(?:hi|hello|hey|dear|thanks?|thank you|thx|regards|best regards|kind regards|best|cheers|sincerely|"
    r"please help|"
    r"any (?:ideas?|help|thoughts|suggestions?)|thoughts|what do you think|good (?:morning|day|evening)|greetings|"
    r"hallo|guten (?:tag|morgen|abend)|moin|danke|vielen dank|viele grüße|grüße|mfg|lg|bonjour|salut|"
    r"bonsoir|merci|"
    r"cordialement|hola|gracias|olá|ciao|grazie)\b"
    r"(?:[ ,]{1,2}(?:all|there|guys|everyone|everybody|team|folks|you|me|on|this|is|would|be|appreciated|"
    r"zusammen|schon|"
    r"mal|à|tous|toutes|in|advance|for|any|your|the|help|time|work|great|a|lot|so|much|very|again|im|"
    r"voraus|d'avance|"
    r"devs?|developers|community|support|"
    r"@[\w-]{1,30})\b){0,8}(?:[ ,]{1,2}(?-i:[A-Z])[\w'-]{1,20}){0,2}[\s,.!?:;)(-]{0,6}$",
    re.IGNORECASE,
)
_NOT_OURS = re.compile(
    r"\W*(?:please )?(?:do not|don't|ne pas|nicht) (?:edit|modif|remove|delete|change|ändern|"
    r"bearbeiten)\w* (?:this|the|cette|les|den|die)",
    re.IGNORECASE,
)
"""The rest of such a paragraph was written by a machine."""
_PROMPT_END = re.compile(r"[.?!:](?:\s+|$)")


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph of prose. `weight` is 2 in a section about the topic, 0 in a section of details, else 1."""

    text: str
    weight: int
    section: str = UNKNOWN
    """A section name from `sections`."""


def clean_inline(text: str) -> str:
    """Return a line or paragraph without markup. Code other than names becomes an ellipsis."""
    if "`" in text:
        text = _CODE.sub(_code_span, text)
    if "](" in text or "][" in text:
        text = _LINK.sub(r"\1", _IMAGE.sub(" ", text))
    if "/" in text or "www." in text:
        text = _URL.sub(" ", text)
    if ">" in text:
        text = _ARROW.sub(" \u2192 ", text)
    if "<" in text:
        text = _TAG.sub(" ", text)
    if "&" in text:
        for entity, character in _ENTITIES.items():
            text = text.replace(entity, character)
    text = " ".join(_EMPHASIS.sub("", _EMOJI.sub(" ", text)).replace("](", "] (").split())
    return _SPACE_BEFORE.sub(r"\1", _EMPTY_BRACKETS.sub("", text)).strip()


def paragraphs(markdown: str) -> list[Paragraph]:
    """Return the prose of an issue's text in order. Only the first DESCRIPTION_MAX characters are read."""
    collector = _Collector()
    for line in prose_lines(markdown[:DESCRIPTION_MAX]):
        collector.take(line)
    collector.close()
    return collector.found


class _Collector:
    """Joins lines to paragraphs and tracks their section."""

    def __init__(self) -> None:
        self.found: list[Paragraph] = []
        self._lines: list[str] = []
        self._section = UNKNOWN
        self._outer: str | None = None
        """The section around `<details>`."""

    def take(self, line: str) -> None:
        """Add the next line. An empty line ends a paragraph."""
        if not line:
            self.close()
            return
        if "details" in line:
            self._fold(line)
        heading = _HEADING.match(line)
        if heading:
            self._open(classify_section(heading[1]))
        else:
            self._add(self._after_heading(line))

    def close(self) -> None:
        """End the paragraph."""
        if not self._lines:
            return
        text = clean_inline(" ".join(self._lines))
        self._lines.clear()
        text = "" if _NOT_OURS.match(text) else _without_prompts(text)
        if len(text) > 2 and any(character.isalpha() for character in text) and not _COURTESY.match(text):
            self.found.append(Paragraph(text, WEIGHTS[self._section], self._section))

    def _open(self, section: str) -> None:
        self.close()
        self._section = DETAILS if section == UNKNOWN and self._outer is not None else section

    def _fold(self, line: str) -> None:
        if "</details>" in line:
            outer, self._outer = self._outer, None
            self._open(outer or UNKNOWN)
        elif "<details" in line and self._outer is None:
            outer = self._section
            self._open(DETAILS)
            self._outer = outer

    def _after_heading(self, line: str) -> str:
        """If the line starts with the label of a section, open that section; return the rest of the line."""
        bold = _BOLD_LEAD.match(line)
        if bold:
            label = clean_inline(bold[2])
            section = classify_section(label)
            if (
                (not bold[3] and len(label) <= _HEADING_MAX)
                or (section and len(label) < 60)
                or _PROMPT.match(label)
            ):
                self._open(section)
                return bold[3]
        elif label_and_rest := split_label(line):
            self._open(label_and_rest[0])
            return label_and_rest[1]
        return line

    def _add(self, line: str) -> None:
        if _COURTESY.match(line):
            self.close()
            return
        item = _LIST_ITEM.match(line)
        if item:
            self.close()
            line = line[item.end() :]
        if line:
            self._lines.append(line)


def is_prompt(sentence: str) -> bool:
    """Return whether a sentence comes from a template and not from the reporter."""
    return bool(_PROMPT.match(sentence))


def _code_span(match: re.Match[str]) -> str:
    code = match[2].strip()
    name = code.strip("<>/") if code.startswith("<") else code
    if _NAME.fullmatch(name):
        return name
    word = re.match(r"<([A-Za-z][\w.-]{0,40})[\s>/]", code)
    return f"{word[1]}" if word else "\u2026"


def _without_prompts(text: str) -> str:
    """Return the text without the template's sentences at its start."""
    start = 0
    while prompt := _PROMPT.match(text, start):
        end = _PROMPT_END.search(text, prompt.end() - 1)
        if end is None:
            return ""
        start = end.end()
    return text[start:]
