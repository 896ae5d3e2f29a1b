"""Evaluates the calibration of the types' confidence: 15 bins of equal width, for the most likely type.

With TRAIN, each repository has a delta trained on its rows there. Without TRAIN, the shipped base is evaluated.
"""

from pathlib import Path
from typing import Any

import numpy as np

from app.enrichment.classification.types import CLASSES, load_base
from evaluation.scores import calibration_bins, calibration_error
from evaluation.types_more import likeliest, predict

_SURE = 0.8


def evaluate(train_file: Path | None, data_file: Path) -> dict[str, Any]:
    """Return the calibration error, the bins, and accuracy and coverage above 0.8 and above the threshold."""
    rows, predictions = predict(train_file, data_file)
    confidences = np.array([found.confidence for found in predictions])
    right = np.array(
        [CLASSES[likeliest(found)] == row["label"] for found, row in zip(predictions, rows, strict=True)]
    )
    predicted = confidences >= load_base().threshold
    sure = confidences >= _SURE
    return {
        "rows": len(rows),
        "ece": calibration_error(confidences, right),
        "accuracy": float(right.mean()),
        "sure_accuracy": float(right[sure].mean()) if sure.any() else None,
        "sure_coverage": float(sure.mean()),
        "predicted_accuracy": float(right[predicted].mean()) if predicted.any() else None,
        "predicted_coverage": float(predicted.mean()),
        "bins": calibration_bins(confidences, right),
    }
