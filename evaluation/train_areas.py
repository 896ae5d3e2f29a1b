"""Fits the calibration of the area lexicon: `services/worker/app/enrichment/data/areas-base.json`.

For each area it fits a logistic curve from the lexicon's score to the probability that a person set the area. A
further curve maps the log odds of the top-ranked area to the probability that it is correct. Rows without any area
are excluded, because a missing label does not mean that no area applies.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from app.enrichment.area_lexicon import Curve, Weights, load_lexicon, probability
from app.enrichment.areas import LEAST
from app.enrichment.classification.linear import Floats, SparseRows, fit_logistic
from evaluation.areas import cleaned
from evaluation.issues import Row, read_rows

OUTPUT = Path(__file__).parents[1] / "services/worker/app/enrichment/data/areas-base.json"
LEAST_SHARE = 0.05
"""The minimum prior of each area, because the frequency of an area differs between projects."""
PENALTY = 0.01


def train_areas(directory: Path, target: Path = OUTPUT) -> dict[str, Any]:
    """Fit and write the calibration from `areas/train.jsonl` of a directory; return its content."""
    rows = read_rows(directory / "areas" / "train.jsonl", "repo", "title", "body", "generic")
    rows = [row for row in rows if row["generic"]]
    document = {"rows": dict(sorted(Counter(row["repo"] for row in rows).items())), **calibrate(rows)}
    target.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return document


def calibrate(rows: list[Row]) -> dict[str, Any]:
    """Return the curve of each area and the curve of the top-ranked area. Every project has the same weight."""
    lexicon = load_lexicon()
    scores = [lexicon.scores(*cleaned(row)) for row in rows]
    sizes = Counter(row["repo"] for row in rows)
    weights = np.array([len(rows) / len(sizes) / sizes[row["repo"]] for row in rows])
    curves = {}
    for area in lexicon.areas:
        right = np.array([area in row["generic"] for row in rows])
        share = float(weights[right].sum() / weights.sum())
        if share == 0:
            raise ValueError(f"no row has the area {area}")
        balanced = weights * np.where(right, max(1.0, LEAST_SHARE / share), 1.0)
        curves[area] = _fit(np.array([scored[area] for scored in scores]), right, balanced)
    top_ranked = [
        (value, area in row["generic"], weight)
        for row, scored, weight in zip(rows, scores, weights.tolist(), strict=True)
        for value, area in _likeliest(curves, scored)
    ]
    values, right, weights = (np.array(column) for column in zip(*top_ranked, strict=True))
    return {
        "areas": {area: curve._asdict() for area, curve in curves.items()},
        "top_ranked": _fit(values, right, weights)._asdict(),
    }


def _likeliest(curves: dict[str, Curve], scores: Weights) -> list[tuple[float, str]]:
    """Return the log odds and the name of the area that would be suggested, if any."""
    found = [(curves[area].log_odds(score), area) for area, score in scores.items() if score > 0]
    return [best for best in sorted(found)[-1:] if probability(best[0]) >= LEAST]


def _fit(values: Floats, right: "np.ndarray[Any, np.dtype[np.bool_]]", weights: Floats) -> Curve:
    points = SparseRows.stack([(np.array([0, 1]), np.array([value, 1.0])) for value in values], 2)
    without, with_area = fit_logistic(
        points, right.astype(np.int64), 2, penalty=PENALTY, sample_weights=weights, tolerance=1e-6
    )
    slope, bias = (with_area - without).tolist()
    return Curve(round(slope, 3), round(bias, 3))
