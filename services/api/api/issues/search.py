"""Read a search: words, `"phrases"`, `prefixes*`, `-excluded`, `or`, and filters such as `created:>2026-01-01`.

The functions of migration 0020 turn each term into a query; this module only separates the terms. Quotes, blanks
and dashes may be any of Unicode, because editors and input methods replace those of ASCII.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from api.database import Database
from api.issues.periods import Period, read_period
from contracts.limits import EXTERNAL_SOURCE_PATTERN, PROJECT_PATTERN
from contracts.states import IssueStatus, Priority
from contracts.validation import format_value
from contracts.vocabulary import TAG_PATTERN, TAG_RULE

_QUOTES = (
    '"\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a\u300c\u300d\u300e\u300f\u301d\u301e\u301f\u2033\u2036\uff02'
)
_DASHES = "-\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"
_BLANKS = r"\s\u180e\u200b\u2060\ufeff"
_TERM = re.compile(
    rf"[{_BLANKS}]*(?P<minus>[{_DASHES}]?)(?:(?P<field>[A-Za-z]+):(?=[^{_BLANKS}/]))?"
    rf"(?:[{_QUOTES}](?P<phrase>[^{_QUOTES}]*)[{_QUOTES}]?|(?P<word>[^{_BLANKS}{_QUOTES}]+))"
)
_LEXEMES = re.compile(r"[A-Za-z0-9 '()&|!<>:*-]*")
"""What the text of a query may have. It becomes part of a statement."""

_OPEN = (IssueStatus.OPEN, IssueStatus.IN_PROGRESS)
_CLOSED = (IssueStatus.RESOLVED, IssueStatus.CLOSED)


class InvalidSearch(Exception):
    """A filter has a value that is not valid; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Term:
    """A word or phrase. Its whole text is searched for, or all words that begin with it."""

    text: str
    is_prefix: bool = False
    is_excluded: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on a column: SQL with `{}` for the parameter, and its value."""

    condition: str
    value: Any
    is_excluded: bool = False


@dataclass(slots=True)
class Search:
    """The terms of a search, as alternatives whose terms must all match, and the filters."""

    alternatives: list[list[Term]] = field(default_factory=lambda: [[]])
    filters: list[Filter] = field(default_factory=list)

    @property
    def terms(self) -> list[Term]:
        """All terms."""
        return [term for alternative in self.alternatives for term in alternative]


def read_search(text: str) -> Search:
    """Return the search that a user has typed; raise InvalidSearch."""
    search = Search()
    for match in _TERM.finditer(text):
        minus, name, phrase, word = match.group("minus", "field", "phrase", "word")
        read = None if name is None else _FILTERS.get(name.lower())
        if read is not None:
            condition = read(phrase if phrase is not None else word)
            search.filters.append(Filter(condition.condition, condition.value, is_excluded=bool(minus)))
        elif word is not None and name is None and not minus and word.lower() in {"or", "|"}:
            search.alternatives.append([])
        else:
            search.alternatives[-1].append(_read_term(name, phrase, word, is_excluded=bool(minus)))
    search.alternatives = [alternative for alternative in search.alternatives if alternative] or [[]]
    return search


def _read_term(name: str | None, phrase: str | None, word: str | None, *, is_excluded: bool) -> Term:
    text = phrase if phrase is not None else word or ""
    if name is not None:
        text = f"{name}:{text}"  # not a filter, such as `std::vector` or `localhost:8000`
    is_prefix = phrase is None and len(text) > 1 and text.endswith("*")
    return Term(text.rstrip("*") if is_prefix else text, is_prefix, is_excluded)


async def compile_terms(database: Database, search: Search) -> str:
    """Return the text of the query for `lexemes`. It is empty if all words are too common to be searched for."""
    sql, values = build_query(search)
    compiled: str = await database.fetchval(f"SELECT ({sql})::text", *values)
    assert _LEXEMES.fullmatch(compiled), "the lexemes are ASCII"
    return compiled


def build_query(search: Search) -> tuple[str, list[Any]]:
    """Return SQL of the type tsquery, and its parameters."""
    values: list[Any] = []
    alternatives = []
    for alternative in search.alternatives:
        terms = []
        for term in alternative:
            values += [term.text, term.is_prefix]
            query = f"search_query(${len(values) - 1}::text, ${len(values)}::boolean)"
            terms.append(f"!!{query}" if term.is_excluded else query)
        alternatives.append(f"({' && '.join(terms)})")
    return " || ".join(alternatives), values


def describe_common_words(search: Search) -> str:
    """Explain why nothing was found."""
    words = " ".join(term.text for term in search.terms)
    return f"{format_value(words)} has only words that are too common to be searched for. Add another word."


def _tag(value: str) -> Filter:
    return Filter("tag_list @> ARRAY[{}::text]", _matching(TAG_PATTERN, value.lower(), "tag", TAG_RULE))


def _project(value: str) -> Filter:
    rule = "up to 100 lower-case letters, digits and . _ / -"
    return Filter("project = {}", _matching(PROJECT_PATTERN, value.lower(), "project", rule))


def _source(value: str) -> Filter:
    rule = "up to 100 lower-case letters, digits and . _ : / -"
    return Filter("external_source = {}", _matching(EXTERNAL_SOURCE_PATTERN, value.lower(), "source", rule))


def _external(value: str) -> Filter:
    return Filter("external_id = {}", value)


def _status(value: str) -> Filter:
    return Filter("status = {}", _one_of({status.value: status.value for status in IssueStatus}, value, "status"))


def _priority(value: str) -> Filter:
    found = _one_of({priority.value: priority.value for priority in Priority}, value, "priority")
    return Filter("priority = {}", found)


def _is(value: str) -> Filter:
    states = {"open": _OPEN, "closed": _CLOSED} | {status.value: (status,) for status in (_OPEN[1], _CLOSED[0])}
    if value.lower() == "duplicate":
        return Filter("(duplicate_of IS NOT NULL) = {}::boolean", True)
    found = _one_of({**states, "duplicate": ()}, value, "is")
    return Filter("status = ANY({}::text[])", [status.value for status in found])


def _time(column: str) -> Callable[[str], Filter]:
    def read(value: str) -> Filter:
        try:
            period: Period = read_period(value)
        except (ValueError, OverflowError):
            rule = "a date such as 2026-01-31, >2026-01-01, <=2026-01 or 2026-01-01..2026-01-31"
            raise InvalidSearch(_reject(column, value, rule)) from None
        return Filter(
            f"({column}_at >= coalesce(({{0}}::timestamptz[])[1], '-infinity') "
            f"AND {column}_at < coalesce(({{0}}::timestamptz[])[2], 'infinity'))",
            [period.start, period.end],
        )

    return read


def _matching(pattern: str, value: str, name: str, rule: str) -> str:
    if re.fullmatch(pattern, value) is None:
        raise InvalidSearch(_reject(name, value, rule))
    return value


def _one_of(choices: Mapping[str, Any], value: str, name: str) -> Any:
    if value.lower() not in choices:
        *first, last = choices
        raise InvalidSearch(_reject(name, value, f"{', '.join(first)} or {last}"))
    return choices[value.lower()]


def _reject(name: str, value: str, rule: str) -> str:
    return f"{name}: {format_value(value)} is not valid. Use {rule}."


_FILTERS: dict[str, Callable[[str], Filter]] = {
    "tag": _tag,
    "project": _project,
    "is": _is,
    "status": _status,
    "priority": _priority,
    "external": _external,
    "source": _source,
    "created": _time("created"),
    "updated": _time("updated"),
}
FIELDS = tuple(_FILTERS)
"""The names of the filters."""
