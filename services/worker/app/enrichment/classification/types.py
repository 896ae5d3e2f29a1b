"""Predicts the type of an issue with a general base model and a delta for the project."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.enrichment.classification import artefact
from app.enrichment.classification.encoding import BELIEF, Encoder, fit_hand_features, fit_terms, rarity
from app.enrichment.classification.features import Document, read
from app.enrichment.classification.linear import Floats, SparseRows, fit_logistic, softmax
from contracts.vocabulary import TypeTag

CLASSES = tuple(TypeTag)
BASE_FILE = Path(__file__).parents[1] / "data" / "types-base.safetensors"

_BASE_LEAST = {"title": 3, "first": 3, "letters": 12, "text": 6, "heading": 4, "answer": 3, "code": 12}
_BASE_TERMS = 60_000
_BASE_PENALTY = 4.0
_DELTA_LEAST = {"title": 1, "first": 1, "letters": 2, "text": 2, "heading": 1, "answer": 1, "code": 2}
_DELTA_TERMS = 16_000
_DELTA_PENALTY = 0.33
_DELTA_TEXT_PENALTY = 0.15
_PRIOR_PENALTY = 1e-3
_DELTA_PRIOR_PENALTY = 1.0
_UNKNOWN = 0.7
"""The factor by which terms without an example count in a block's length, relative to their rarity."""
_FOLDS = 5
_FOLDED = 30
"""The minimum number of examples to fit a delta's temperature. With fewer, the base's temperature is used."""


@dataclass(frozen=True, slots=True)
class LabelledIssue:
    """An issue with its confirmed type."""

    title: str
    description: str
    label: TypeTag


@dataclass(frozen=True, slots=True)
class TypePrediction:
    """`label` is None if the confidence is too low; `confidence` is the probability of the most likely type."""

    label: TypeTag | None
    confidence: float
    probabilities: dict[TypeTag, float]


class TypeDelta:
    """A project's addition to the base model: weights for the project's own terms."""

    def __init__(
        self, base_version: str, examples: int, temperature: float, encoder: Encoder, weights: Floats
    ) -> None:
        self.base_version = base_version
        self.examples = examples
        self.temperature = temperature
        self._encoder = encoder
        self._weights = weights

    def scores(self, document: Document) -> Floats:
        """Return the scores to add to those of the base model, one per class."""
        return _scores(self._encoder, self._weights, document)

    def to_bytes(self) -> bytes:
        """Return the delta as bytes."""
        return artefact.pack(
            {
                **_encoder_arrays(self._encoder),
                "weights": self._weights.astype(np.float16),
                "base": artefact.text_array(self.base_version),
                "examples": np.array(self.examples),
                "temperature": np.array(self.temperature),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "TypeDelta":
        """Load a delta; raise ArtefactError if the bytes are damaged."""
        arrays = artefact.unpack(data)
        return cls(
            base_version=artefact.array_text(arrays["base"]),
            examples=int(arrays["examples"].item()),
            temperature=float(arrays["temperature"].item()),
            encoder=_encoder(arrays),
            weights=arrays["weights"].astype(np.float64),
        )


class TypeModel:
    """The base model, which predicts with or without a project's delta."""

    def __init__(
        self, version: str, encoder: Encoder, weights: Floats, temperature: float = 1.0, threshold: float = 0.0
    ) -> None:
        self.version = version
        self.encoder = encoder
        self.temperature, self.threshold = temperature, threshold
        self._weights = weights

    def predict(self, title: str, description: str, delta: TypeDelta | None = None) -> TypePrediction:
        """Return the probability of each type; raise ValueError if the delta belongs to another base version."""
        if delta is not None and delta.base_version != self.version:
            raise ValueError(f"the delta belongs to base {delta.base_version}, but this is base {self.version}")
        document = read(title, description)
        scores = self.scores(document)
        temperature = self.temperature
        if delta is not None:
            scores, temperature = scores + delta.scores(document), delta.temperature
        likely = softmax(scores / temperature)
        best = int(likely.argmax())
        confidence = float(likely[best])
        return TypePrediction(
            label=CLASSES[best] if confidence >= self.threshold else None,
            confidence=confidence,
            probabilities={name: float(value) for name, value in zip(CLASSES, likely, strict=True)},
        )

    def scores(self, document: Document) -> Floats:
        """Return the scores, one per class."""
        return _scores(self.encoder, self._weights, document)

    def to_bytes(self) -> bytes:
        """Return the base model as bytes."""
        scale = np.abs(self._weights).max(axis=1) / 127
        return artefact.pack(
            {
                **_encoder_arrays(self.encoder),
                "weights": np.rint(self._weights / scale[:, None]).astype(np.int8),
                "scale": scale,
                "temperature": np.array(self.temperature),
                "threshold": np.array(self.threshold),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "TypeModel":
        """Load a base model; raise ArtefactError if the bytes are damaged."""
        arrays = artefact.unpack(data)
        return cls(
            version=artefact.version(data),
            encoder=_encoder(arrays),
            weights=arrays["weights"] * arrays["scale"][:, None],
            temperature=float(arrays["temperature"].item()),
            threshold=float(arrays["threshold"].item()),
        )


@cache
def load_base(path: Path = BASE_FILE) -> TypeModel:
    """Return the shipped base model, loaded once per process; raise ArtefactError with the file's name."""
    try:
        data, checksum = path.read_bytes(), checksum_file(path).read_text().partition(" ")[0]
        artefact.verify(data, checksum)
        return TypeModel.from_bytes(data)
    except (OSError, artefact.ArtefactError) as error:
        raise artefact.ArtefactError(f"{path.name}: {error}. Create the file with `make train`.") from None


def checksum_file(path: Path) -> Path:
    """Return the file with the model's checksum, as `sha256sum` writes it."""
    return path.with_name(f"{path.name}.sha256")


def fit_encoder(documents: Sequence[Document]) -> Encoder:
    """Return the encoder of a base model for these documents."""
    terms, rarities = fit_terms(documents, _BASE_LEAST, _BASE_TERMS)
    centre, spread = fit_hand_features(documents)
    return Encoder(terms, _rounded(rarities), _rounded(centre), _rounded(spread))


def fit_base(encoder: Encoder, rows: SparseRows, labels: NDArray[np.int64], sample_weights: Floats) -> Floats:
    """Return the weights (classes x columns) of a base model."""
    return fit_logistic(
        rows,
        labels,
        len(CLASSES),
        penalty=_penalties(encoder, _BASE_PENALTY, _PRIOR_PENALTY),
        sample_weights=sample_weights,
        tolerance=5e-3,
    )


def train_delta(model: TypeModel, examples: Sequence[LabelledIssue]) -> TypeDelta:
    """Train a delta on a project's confirmed tags. The same examples in the same order give the same delta.

    Raises ValueError if there are no examples. The penalty pulls the weights towards zero, which is the base
    model. A few examples therefore change it little, and a class that is never confirmed becomes rarer.
    """
    if not examples:
        raise ValueError("cannot train types without examples")
    documents = [read(example.title, example.description) for example in examples]
    labels = np.array([CLASSES.index(example.label) for example in examples])
    offsets = np.array([model.scores(document) for document in documents])
    encoder = _delta_encoder(model.encoder, documents)
    rows = encoder.rows(documents)
    penalty = _penalties(encoder, _DELTA_PENALTY, _DELTA_PRIOR_PENALTY, text=_DELTA_TEXT_PENALTY)

    def fit(kept: NDArray[np.bool_]) -> Floats:
        return fit_logistic(
            rows,
            labels,
            len(CLASSES),
            penalty=penalty,
            offsets=offsets,
            sample_weights=kept.astype(np.float64),
            tolerance=3e-3,
        )

    temperature = model.temperature
    if len(examples) >= _FOLDED:
        folds = np.arange(len(examples)) % _FOLDS
        unseen = offsets.copy()
        for fold in range(_FOLDS):
            unseen[folds == fold] += rows.times(fit(folds != fold))[folds == fold]
        temperature = fit_temperature(unseen, labels)
    weights = fit(np.ones(len(examples), dtype=np.bool_))
    return TypeDelta(
        model.version, len(examples), temperature, encoder, weights.astype(np.float16).astype(np.float64)
    )


def fit_temperature(scores: Floats, labels: NDArray[np.int64], sample_weights: Floats | None = None) -> float:
    """Return the divisor of the scores that minimises the log loss, from 0.5 to 4 in steps of 2 %."""
    candidates = 0.5 * 1.02 ** np.arange(106)
    index = np.arange(len(labels))

    def loss(temperature: float) -> float:
        losses = -np.log(softmax(scores / temperature)[index, labels] + 1e-12)
        return float(np.average(losses, weights=sample_weights))

    return float(min(candidates, key=loss))


def _delta_encoder(base: Encoder, documents: Sequence[Document]) -> Encoder:
    """Return the encoder of a project's terms."""
    terms, rarities = fit_terms(documents, _DELTA_LEAST, _DELTA_TERMS, base)
    unseen = BELIEF * base.shares_of([""])
    unknown = _UNKNOWN * rarity(unseen, len(documents) + BELIEF)
    return Encoder(terms, _rounded(rarities), base.centre, base.spread, unknown=float(_rounded(unknown)[0]))


def _penalties(encoder: Encoder, penalty: float, prior: float, text: float | None = None) -> Floats:
    """Return the penalty of each column. `text` is the penalty for words of the description, if different."""
    penalties = np.full(encoder.width, penalty)
    if text is not None:
        penalties[[column for column, term in enumerate(encoder.terms) if term.startswith("text:")]] = text
    penalties[-1] = prior
    return penalties


def _rounded(numbers: Floats) -> Floats:
    """Round as in the artefact, so that the trained model equals the loaded model."""
    return numbers.astype(np.float16).astype(np.float64)


def _scores(encoder: Encoder, weights: Floats, document: Document) -> Floats:
    columns, values = encoder.row(document)
    return np.asarray((weights[:, columns] * values).sum(axis=1))


def _encoder_arrays(encoder: Encoder) -> dict[str, NDArray[Any]]:
    return {
        "terms": artefact.text_array("\n".join(encoder.terms)),
        "rarities": encoder.rarities.astype(np.float16),
        "centre": encoder.centre.astype(np.float16),
        "spread": encoder.spread.astype(np.float16),
        **({"unknown": np.array(encoder.unknown)} if encoder.unknown else {}),
    }


def _encoder(arrays: dict[str, NDArray[Any]]) -> Encoder:
    text = artefact.array_text(arrays["terms"])
    rarities, centre, spread = (arrays[name].astype(np.float64) for name in ("rarities", "centre", "spread"))
    unknown = float(arrays["unknown"].item()) if "unknown" in arrays else 0.0
    return Encoder(text.split("\n") if text else [], rarities, centre, spread, unknown)
