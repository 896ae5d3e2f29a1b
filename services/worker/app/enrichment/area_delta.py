"""A project's area model: one logistic regression per area, on top of the lexicon.

The regression starts from the lexicon's log odds and learns corrections from the words of confirmed issues. An
area that was never confirmed is therefore still predicted by the lexicon.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.enrichment.area_lexicon import Weights, load_calibration, load_lexicon
from app.enrichment.classification import artefact
from app.enrichment.classification.features import Vocabulary, ngrams, words
from app.enrichment.classification.linear import Floats, Integers, SparseRows, fit_logistic
from contracts.vocabulary import AreaTag

Example = tuple[str, str, frozenset[str]]
"""A cleaned title, the prose of a body, and the confirmed areas."""

READ_CHARACTERS = 6_000
LEAST_DOCUMENTS = 2
TERM_PENALTY = 0.2
EVIDENCE_PENALTY = 0.5
BIAS_PENALTY = 0.3
"""High enough that a few dozen issues without an area do not outweigh the lexicon's evidence for it."""
MAX_EVIDENCE = 4.0
"""The bound of the lexicon's evidence as a feature, after halving. It limits the influence of one long issue."""


class _Columns:
    """The feature columns: terms of the title, words of the body, a one, and the evidence for each area."""

    def __init__(self, title: Vocabulary, body: Vocabulary, evidence: Sequence[str]) -> None:
        self.title, self.body, self.evidence = title, body, tuple(evidence)
        self.terms = len(title) + len(body)
        self.width = self.terms + 1 + len(self.evidence)

    def penalties(self) -> Floats:
        """Return the L2 penalty of each column."""
        counts = (self.terms, 1, len(self.evidence))
        return np.repeat((TERM_PENALTY, BIAS_PENALTY, EVIDENCE_PENALTY), counts)

    def vector(self, title: str, body: str, scores: Mapping[str, float]) -> tuple[Integers, Floats]:
        """Return the columns and values of an issue with these lexicon scores."""
        curves = load_calibration().areas
        evidence = [curves[area].slope * scores[area] / 2 for area in self.evidence]
        title_columns, title_values = self.title.vector(_title_terms(title))
        body_columns, body_values = self.body.vector(_body_terms(body))
        columns = (title_columns, body_columns + len(self.title), np.arange(self.terms, self.width))
        values = (title_values, body_values, [1.0], np.clip(evidence, -MAX_EVIDENCE, MAX_EVIDENCE))
        return np.concatenate(columns), np.concatenate(values)


@dataclass(frozen=True, slots=True)
class AreaDelta:
    """The weights that a project adds to the lexicon, of shape (areas, columns)."""

    areas: tuple[str, ...]
    columns: _Columns
    weights: Floats

    def log_odds(self, title: str, body: str, scores: Mapping[str, float]) -> Weights:
        """Return the log odds of each area, given the lexicon's scores of the same text."""
        columns, values = self.columns.vector(title, body, scores)
        added = (self.weights[:, columns] * values).sum(axis=1)
        curves = load_calibration().areas
        return {
            area: curves[area].log_odds(scores[area]) + float(more)
            for area, more in zip(self.areas, added, strict=True)
        }

    def to_bytes(self) -> bytes:
        """Return the delta as bytes. Equal deltas give equal bytes."""
        return artefact.pack(
            {
                "areas": _text(self.areas),
                "evidence": _text(self.columns.evidence),
                "title_terms": _text(self.columns.title.terms),
                "title_weights": self.columns.title.weights,
                "body_terms": _text(self.columns.body.terms),
                "body_weights": self.columns.body.weights,
                "weights": self.weights.astype(np.float32),
            }
        )

    @classmethod
    def from_bytes(cls, parameters: bytes) -> "AreaDelta":
        """Load a delta from the bytes of `to_bytes`; raise ArtefactError if they are damaged."""
        arrays = artefact.unpack(parameters)
        title = Vocabulary(_lines(arrays["title_terms"]), arrays["title_weights"])
        body = Vocabulary(_lines(arrays["body_terms"]), arrays["body_weights"])
        columns = _Columns(title, body, _lines(arrays["evidence"]))
        return cls(_lines(arrays["areas"]), columns, arrays["weights"].astype(np.float64))


def train_areas(examples: Sequence[Example], areas: Sequence[str] = tuple(AreaTag)) -> AreaDelta:
    """Train a project's delta for each of `areas`; raise ValueError if there are no examples."""
    if not examples:
        raise ValueError("cannot train areas without examples")
    lexicon, curves = load_lexicon(), load_calibration().areas
    scores = [lexicon.scores(title, body) for title, body, _ in examples]
    columns = _Columns(
        Vocabulary.of([_title_terms(title) for title, _, _ in examples], least=LEAST_DOCUMENTS),
        Vocabulary.of([_body_terms(body) for _, body, _ in examples], least=LEAST_DOCUMENTS),
        lexicon.areas,
    )
    vectors = [
        columns.vector(title, body, scored) for (title, body, _), scored in zip(examples, scores, strict=True)
    ]
    rows = SparseRows.stack(vectors, columns.width)
    fitted = []
    for area in areas:
        log_odds = np.array([curves[area].log_odds(scored[area]) for scored in scores])
        labels = np.array([area in confirmed for _, _, confirmed in examples], dtype=np.int64)
        offsets = np.stack([-log_odds / 2, log_odds / 2], axis=1)
        without, with_area = fit_logistic(rows, labels, 2, penalty=columns.penalties(), offsets=offsets)
        fitted.append(with_area - without)
    # Round as in storage, so that a delta predicts the same before and after.
    weights = np.array(fitted).astype(np.float32).astype(np.float64)
    return AreaDelta(tuple(str(area) for area in areas), columns, weights)


def _title_terms(title: str) -> Counter[str]:
    return Counter(ngrams("title", words(title[:READ_CHARACTERS])))


def _body_terms(body: str) -> Counter[str]:
    return Counter(words(body[:READ_CHARACTERS]))


def _text(listed: Sequence[str]) -> NDArray[np.uint8]:
    return artefact.text_array("\n".join(listed))


def _lines(array: NDArray[np.uint8]) -> tuple[str, ...]:
    text = artefact.array_text(array)
    return tuple(text.split("\n")) if text else ()
