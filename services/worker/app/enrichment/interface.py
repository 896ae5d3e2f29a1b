"""The input, the output and the protocol of enrichers."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from contracts.limits import DEFAULT_PROJECT
from contracts.states import Priority
from contracts.vocabulary import AreaTag, TypeTag


@dataclass(frozen=True, slots=True)
class IssueText:
    """An issue as its reporter wrote it: data, never instructions."""

    title: str
    description: str
    project: str = DEFAULT_PROJECT

    def digest(self) -> str:
        """Return the SHA-256 of the text in hexadecimal."""
        return hashlib.sha256(f"{self.title}\x00{self.description}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag of the closed vocabulary and its confidence, above 0 and below 1."""

    name: str
    confidence: float


def sort_tags(tags: Iterable[Tag]) -> tuple[Tag, ...]:
    """Return the tags in canonical order: the type, the language, then the areas, the most confident first."""

    def place(tag: Tag) -> tuple[bool, bool, float]:
        return tag.name not in set(TypeTag), tag.name in set(AreaTag), -tag.confidence

    return tuple(sorted(tags, key=place))


@dataclass(frozen=True, slots=True)
class PrioritySuggestion:
    """A suggested priority, and the reason, which quotes the issue."""

    value: Priority
    reason: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """The origin of a result. The same text, provider, model and version give the same result."""

    provider: str
    model: str
    version: str
    input_sha256: str
    learned: str | None = None
    """Comma-separated ids of the project's models that were used."""
    prompt_version: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    """In the currency of the configured prices; None without prices."""
    fallback: str | None = None
    """Why the local enricher replaced the configured provider."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that are not None, for storage."""
        known = ((name, getattr(self, name)) for name in self.__slots__)
        return {name: value for name, value in known if value is not None}


@dataclass(frozen=True, slots=True)
class Enrichment:
    """The result of an enricher."""

    summary: str
    """Starts with `AI Summary: `, followed by at most 160 characters."""
    tags: tuple[Tag, ...]
    """At most one type, two areas and one `lang:xx`."""
    provenance: Provenance
    priority: PrioritySuggestion | None = None
    language: str | None = None
    """ISO 639-1 code, or None if the language was not recognised."""


class Enricher(Protocol):
    """Enriches issues, without side effects."""

    def enrich(self, issue: IssueText) -> Enrichment:
        """Enrich one issue; raise TransientError if a retry may succeed."""
        ...
