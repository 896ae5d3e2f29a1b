"""Trains the base model of the type classifier: `services/worker/app/enrichment/data/types-base.safetensors`."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.enrichment.classification import artefact
from app.enrichment.classification.features import Document, read, take_first_sentence
from app.enrichment.classification.linear import Floats
from app.enrichment.classification.types import (
    BASE_FILE,
    CLASSES,
    TypeModel,
    checksum_file,
    fit_base,
    fit_encoder,
    fit_temperature,
)
from evaluation.issues import Row, read_rows
from evaluation.synthetic_issues import REPOSITORY, synthetic_issues

_TRUNCATED_WEIGHT = 0.3
_REPOSITORY_ROWS = 300
_FOLDS = 4
_RIGHT = 0.78
"""The target precision of the base model's predictions on unseen repositories."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Labelled issues, each whole and truncated, with the weight of its repository."""

    repositories: NDArray[np.str_]
    labels: NDArray[np.int64]
    weights: Floats
    views: tuple[list[Document], list[Document], list[Document]]
    """Three forms of each issue: whole, the title with the first sentence, and the title only."""

    def without(self, repositories: Collection[str]) -> NDArray[np.bool_]:
        """Return a mask of the rows that are from other repositories."""
        return ~np.isin(self.repositories, list(repositories))


def types_rows(path: Path) -> list[Row]:
    """Return labelled issues without those that are also in the official test part."""
    rows = read_rows(path, "repo", "title", "body", "label")
    return [row for row in rows if not row.get("also_in_heldout") and row["label"] in set(CLASSES)]


def corpus(rows: Sequence[Row], broad: Sequence[Row] = ()) -> Corpus:
    """Build the corpus. Each repository of a source has equal weight; rare types have more than their share."""
    rows = [*rows, *synthetic_issues()]
    every = [*rows, *broad]
    sizes = Counter(row["repo"] for row in rows)
    broad_sizes = Counter(row["repo"] for row in broad)
    of_type = Counter((index < len(rows), row["repo"], row["label"]) for index, row in enumerate(every))
    weights = []
    for index, row in enumerate(every):
        narrow = index < len(rows)
        size = (sizes if narrow else broad_sizes)[row["repo"]]
        share = of_type[narrow, row["repo"], row["label"]] / size
        weights.append(_REPOSITORY_ROWS / size * (3 * share) ** -0.5)
    texts = [(row["title"] or "", row["body"] or "") for row in every]
    return Corpus(
        repositories=np.array([row["repo"] for row in every]),
        labels=np.array([CLASSES.index(row["label"]) for row in every]),
        weights=np.array(weights),
        views=(
            [read(title, body) for title, body in texts],
            [read(title, take_first_sentence(body)) for title, body in texts],
            [read(title, "") for title, _ in texts],
        ),
    )


def train(data: Corpus, kept: NDArray[np.bool_] | None = None) -> TypeModel:
    """Train an uncalibrated base model on the rows in `kept`, or on all rows."""
    places = np.flatnonzero(np.ones(len(data.labels), dtype=bool) if kept is None else kept)
    views = [[view[place] for place in places] for view in data.views]
    encoder = fit_encoder(views[0])
    weights = data.weights[places]
    shares = np.concatenate([weights, *(_TRUNCATED_WEIGHT * weights for _ in views[1:])])
    rows = encoder.rows([document for view in views for document in view])
    labels = np.tile(data.labels[places], len(views))
    return TypeModel("untitled", encoder, fit_base(encoder, rows, labels, shares))


def calibrate(data: Corpus) -> tuple[float, float]:
    """Return the temperature and the threshold of a base model on unseen repositories."""
    names = sorted(set(data.repositories) - {REPOSITORY})
    scores = np.zeros((len(data.labels), len(CLASSES)))
    for fold in range(_FOLDS):
        kept = data.without(names[fold::_FOLDS])
        model = train(data, kept)
        for place in np.flatnonzero(~kept):
            scores[place] = model.scores(data.views[0][place])
    real = data.without([REPOSITORY])
    scores, labels, weights = scores[real], data.labels[real], data.weights[real]
    temperature = fit_temperature(scores, labels, weights)
    return temperature, threshold(scores / temperature, labels, weights)


def threshold(scores: Floats, labels: NDArray[np.int64], weights: Floats) -> float:
    """Return the lowest confidence above which the predictions reach the target precision."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    confidences = 1 / powers.sum(axis=1)
    right = scores.argmax(axis=1) == labels
    for limit in np.arange(0.4, 0.95, 0.01):
        predicted = confidences >= limit
        if predicted.any() and float(np.average(right[predicted], weights=weights[predicted])) >= _RIGHT:
            return round(float(limit), 2)
    return 0.95


def train_types(directory: Path, target: Path = BASE_FILE) -> TypeModel:
    """Train, calibrate and write the base model from `types/train.jsonl` and `types_more/train.jsonl`."""
    data = corpus(
        types_rows(directory / "types" / "train.jsonl"), types_rows(directory / "types_more" / "train.jsonl")
    )
    model = train(data)
    model.temperature, model.threshold = calibrate(data)
    written = model.to_bytes()
    target.write_bytes(written)
    checksum_file(target).write_text(f"{artefact.checksum(written)}  {target.name}\n")
    return TypeModel.from_bytes(written)
