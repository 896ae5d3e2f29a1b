"""Evaluates the areas: F1 of the lexicon only, and of a delta trained on each repository's labelled issues.

Rows have the fields repo, title, body and `generic`, the confirmed areas. `documentation`, which is a type in the
product, counts as an area here. At most two areas are predicted. `micro_f1` and the other scores use the rows with
a label. `all_rows` counts predictions for the other rows as wrong.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from app.enrichment.area_delta import AreaDelta, train_areas
from app.enrichment.area_lexicon import load_lexicon
from app.enrichment.areas import rank_areas
from app.enrichment.cleaning import clean_inline, paragraphs
from evaluation.issues import Row, read_rows

Predict = Callable[[Row], tuple[tuple[str, float], ...]]
"""Returns the predicted areas of a row with their confidence."""

BINS = 10


def evaluate(train: Path | None, data: Path) -> dict[str, Any]:
    """Evaluate each repository of `data`. The report has `trained` if `train` has labelled issues of it."""
    fields = ("repo", "title", "body", "generic")
    rows = read_rows(data, *fields)
    examples = read_rows(train, *fields) if train else []
    report: dict[str, Any] = {}
    for repo in sorted({row["repo"] for row in rows}):
        own = [row for row in rows if row["repo"] == repo]
        report[repo] = {"lexicon": measure(own, predictor(None))}
        labelled = [row for row in examples if row["repo"] == repo and row["generic"]]
        if labelled:
            delta = train_areas(
                [(*cleaned(row), frozenset(row["generic"])) for row in labelled], load_lexicon().areas
            )
            report[repo]["trained"] = {"examples": len(labelled), **measure(own, predictor(delta))}
    return {"task": "areas", "repositories": report}


def cleaned(row: Row) -> tuple[str, str]:
    """Return title and body after the enricher's cleaning."""
    return clean_inline(row["title"]), " ".join(paragraph.text for paragraph in paragraphs(row["body"]))


def predictor(delta: AreaDelta | None) -> Predict:
    """Return a function that predicts a row's areas like the product, including documentation."""

    def predict(row: Row) -> tuple[tuple[str, float], ...]:
        tags = rank_areas(*cleaned(row), delta, load_lexicon().areas)
        return tuple((tag.name, tag.confidence) for tag in tags)

    return predict


def measure(rows: Sequence[Row], predict: Predict) -> dict[str, Any]:
    """Return the scores of a predictor on the rows of one repository."""
    judged = [(frozenset(row["generic"]), dict(predict(row))) for row in rows]
    labelled = [(truth, guess) for truth, guess in judged if truth]
    labels = sorted({label for truth, _ in labelled for label in truth})
    areas = {label: _counts(labelled, label) for label in load_lexicon().areas}
    total = {key: sum(counts[key] for counts in areas.values()) for key in ("true", "predicted", "right")}
    everywhere = [_counts(judged, label) for label in load_lexicon().areas]
    return {
        "micro_f1": _f1(total),
        "macro_f1": round(sum(_f1(areas[label]) for label in labels) / max(len(labels), 1), 4),
        "precision": round(total["right"] / max(total["predicted"], 1), 4),
        "recall": round(total["right"] / max(total["true"], 1), 4),
        "rows": len(labelled),
        "rows_without_prediction": sum(not guess for _, guess in labelled),
        "areas": {label: {"f1": _f1(counts), **counts} for label, counts in areas.items() if any(counts.values())},
        "calibration_error": _calibration_error(labelled),
        "all_rows": {
            "rows": len(judged),
            "micro_f1": _f1({key: sum(counts[key] for counts in everywhere) for key in total}),
        },
    }


def _counts(judged: Sequence[tuple[frozenset[str], dict[str, float]]], label: str) -> dict[str, int]:
    return {
        "true": sum(label in truth for truth, _ in judged),
        "predicted": sum(label in guess for _, guess in judged),
        "right": sum(label in truth and label in guess for truth, guess in judged),
    }


def _f1(counts: dict[str, int]) -> float:
    return round(2 * counts["right"] / max(counts["true"] + counts["predicted"], 1), 4)


def _calibration_error(judged: Sequence[tuple[frozenset[str], dict[str, float]]]) -> float:
    """Return the expected calibration error of the predicted areas, in ten equal bins."""
    pairs = [(confidence, area in truth) for truth, guess in judged for area, confidence in guess.items()]
    if not pairs:
        return 0.0
    confidences, right = (np.array(column, dtype=np.float64) for column in zip(*pairs, strict=True))
    bins = np.minimum((confidences * BINS).astype(int), BINS - 1)
    gaps = [abs(float((confidences - right)[bins == index].sum())) for index in range(BINS)]
    return round(sum(gaps) / len(pairs), 4)
