"""What every enricher takes and gives."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class IssueText:
    """An issue as its reporter wrote it: data, never instructions."""

    title: str
    description: str

    def digest(self) -> str:
        """Return the SHA-256 of the text in hexadecimal: equal texts are enriched equally."""
        return hashlib.sha256(f"{self.title}\x00{self.description}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Tag:
    """A word of the closed vocabulary and how sure the enricher is of it, above 0 and below 1."""

    name: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who said so: the same text, provider, model and version give the same result."""

    provider: str
    model: str
    version: str
    input_sha256: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as they are stored."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Enrichment:
    """What an enricher makes of an issue: a summary that begins `AI Summary: `, tags with the surest first."""

    summary: str
    tags: tuple[Tag, ...]
    provenance: Provenance


class Enricher(Protocol):
    """Something that enriches issues; it reads and writes nothing but its argument and its result."""

    def enrich(self, issue: IssueText) -> Enrichment:
        """Enrich one issue; raise TimeoutError or ConnectionError for what another attempt may mend."""
        ...
