"""Scores of a classifier. Classes are numbers."""

import numpy as np
from numpy.typing import NDArray

from app.enrichment.classification.linear import Floats

_BINS = 15


def accuracy(truth: NDArray[np.int64], guesses: NDArray[np.int64]) -> float:
    """Return the share of correct predictions."""
    return float((truth == guesses).mean())


def macro_f1(truth: NDArray[np.int64], guesses: NDArray[np.int64]) -> float:
    """Return the mean F1 of the classes that occur in the truth."""
    figures = []
    for name in np.unique(truth):
        both = int(((truth == name) & (guesses == name)).sum())
        figures.append(2 * both / (int((truth == name).sum()) + int((guesses == name).sum())))
    return float(np.mean(figures))


def calibration_bins(confidences: Floats, right: NDArray[np.bool_]) -> list[dict[str, float]]:
    """Return the share, the mean confidence and the accuracy of each non-empty bin of equal width."""
    places = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
    return [
        {
            "from": round(place / _BINS, 3),
            "share": float((places == place).mean()),
            "confidence": float(confidences[places == place].mean()),
            "accuracy": float(right[places == place].mean()),
        }
        for place in np.unique(places).tolist()
    ]


def calibration_error(confidences: Floats, right: NDArray[np.bool_]) -> float:
    """Return the expected calibration error over the bins."""
    return sum(
        one["share"] * abs(one["confidence"] - one["accuracy"]) for one in calibration_bins(confidences, right)
    )
