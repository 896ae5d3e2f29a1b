"""What every enricher takes and gives."""

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
        """Return the SHA-256 of the text in hexadecimal: equal texts are enriched equally."""
        return hashlib.sha256(f"{self.title}\x00{self.description}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Tag:
    """A word of the closed vocabulary and how sure the enricher is of it, above 0 and below 1."""

    name: str
    confidence: float


def in_order(tags: Iterable[Tag]) -> tuple[Tag, ...]:
    """Return the type first, then the language, then the areas, the surest first: as every enricher tells them."""

    def place(tag: Tag) -> tuple[bool, bool, float]:
        return tag.name not in set(TypeTag), tag.name in set(AreaTag), -tag.confidence

    return tuple(sorted(tags, key=place))


@dataclass(frozen=True, slots=True)
class PrioritySuggestion:
    """A priority that a rule suggests, and the rule's reason, with the words that it found."""

    value: Priority
    reason: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who said so: the same text, provider, model and version give the same result."""

    provider: str
    model: str
    version: str
    input_sha256: str
    learned: str | None = None
    """Ids of the project's own models that took part, separated by commas."""
    prompt_version: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    """In the currency of the configured prices; None where none are configured."""
    fallback: str | None = None
    """Why another provider than the configured one answered."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that are known, as they are stored."""
        known = ((name, getattr(self, name)) for name in self.__slots__)
        return {name: value for name, value in known if value is not None}


@dataclass(frozen=True, slots=True)
class Enrichment:
    """What an enricher makes of an issue."""

    summary: str
    """Begins with `AI Summary: `; at most 160 characters follow."""
    tags: tuple[Tag, ...]
    """At most one type, two areas and one `lang:xx`."""
    provenance: Provenance
    priority: PrioritySuggestion | None = None
    language: str | None = None
    """ISO 639-1 code, None where it was not recognised."""


class Enricher(Protocol):
    """Something that enriches issues; it reads and writes nothing but its argument and its result."""

    def enrich(self, issue: IssueText) -> Enrichment:
        """Enrich one issue; raise TimeoutError or ConnectionError for what another attempt may mend."""
        ...
