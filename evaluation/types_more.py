"""Evaluates the four types. With TRAIN, each repository has its own delta.

Without TRAIN, the shipped base model is evaluated. With TRAIN, the base model is trained on the other
repositories, so that each delta is trained on a base that has not seen the project, as in production.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from app.enrichment.classification.types import CLASSES, TypeModel, TypePrediction, load_base, train_delta
from evaluation.issues import Row
from evaluation.scores import accuracy, macro_f1
from evaluation.train_types import corpus, train, types_rows
from evaluation.types import labelled


def evaluate(train_file: Path | None, data_file: Path) -> dict[str, Any]:
    """Return macro-F1, micro-F1 (accuracy, since each issue has one type) and the accuracy per repository."""
    rows, predictions = predict(train_file, data_file)
    truth = np.array([CLASSES.index(row["label"]) for row in rows])
    guesses = np.array([likeliest(found) for found in predictions])
    names = np.array([row["repo"] for row in rows])
    return {
        "rows": len(rows),
        "macro_f1": macro_f1(truth, guesses),
        "micro_f1": accuracy(truth, guesses),
        "of_type": {
            CLASSES[index]: accuracy(truth[truth == index], guesses[truth == index])
            for index in np.unique(truth).tolist()
        },
        "repositories": {
            name: accuracy(truth[names == name], guesses[names == name]) for name in np.unique(names).tolist()
        },
    }


def likeliest(found: TypePrediction) -> int:
    """Return the index of the most likely class."""
    return int(np.argmax([found.probabilities[name] for name in CLASSES]))


def predict(train_file: Path | None, data_file: Path) -> tuple[list[Row], list[TypePrediction]]:
    """Return the rows and their predictions, grouped by repository."""
    data = types_rows(data_file)
    rows: list[Row] = []
    predictions: list[TypePrediction] = []
    for own, base, learned in _projects(train_file, data):
        delta = train_delta(base, [labelled(row) for row in learned]) if learned else None
        rows.extend(own)
        predictions.extend(base.predict(row["title"] or "", row["body"] or "", delta) for row in own)
    return rows, predictions


def _projects(train_file: Path | None, data: Sequence[Row]) -> Iterator[tuple[list[Row], TypeModel, list[Row]]]:
    """Yield the rows of each repository, a base model that has not seen it, and the training rows of its delta."""
    learned = [] if train_file is None else types_rows(train_file)
    everything = corpus(learned) if learned else None
    for repository in sorted({row["repo"] for row in data}):
        own = [row for row in data if row["repo"] == repository]
        base = load_base()
        if everything is not None:
            base = train(everything, everything.without([repository]))
        yield own, base, [row for row in learned if row["repo"] == repository]
