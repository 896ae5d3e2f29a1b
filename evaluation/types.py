"""Evaluates the types: with all, few and none of a project's own tags, and on short plain issues.

The official score is that of NLBSE'24: the mean macro-F1 over repositories. Each repository is evaluated with a
base model that was not trained on it. That model is trained on the other repositories of TRAIN, and on those of
`types_more/train.jsonl` in a directory next to that of TRAIN, if it exists.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.enrichment.classification.features import read
from app.enrichment.classification.types import CLASSES, LabelledIssue, TypeModel, load_base, train_delta
from contracts.vocabulary import TypeTag
from evaluation.issues import Row, read_rows
from evaluation.scores import accuracy, macro_f1
from evaluation.train_types import Corpus, corpus, train, types_rows

SHORT_ISSUES = Path(__file__).parent / "fixtures" / "short_issues.jsonl"
_DRAWS = {30: 20, 150: 5}
"""The number of random draws by number of tags. The scores are means over the draws."""


def evaluate(train_file: Path | None, data_file: Path) -> dict[str, Any]:
    """Return the scores. Without TRAIN, only the scores of the shipped base model are included."""
    data = types_rows(data_file)
    result: dict[str, Any] = {
        "rows": len(data),
        "base_version": load_base().version,
        "short_issues": short_issues(),
    }
    result["shipped_base_alone_f1"] = _mean(_by_repository(data, load_base(), []))
    if train_file is None:
        return result
    learned = types_rows(train_file)
    repositories = sorted({row["repo"] for row in data})
    everything = corpus(learned, _broad_rows(train_file))
    figures: dict[str, dict[str, Any]] = {}
    for repository in repositories:
        figures[repository] = _of_repository(repository, everything, learned, data)
    return {
        "official_f1": _mean([figure["f1"] for figure in figures.values()]),
        "accuracy": sum(figure["right"] for figure in figures.values()) / len(data),
        "shipped_base_f1": _mean([figure["shipped_base_f1"] for figure in figures.values()]),
        "leave_one_repository_out": _mean([figure["unseen_f1"] for figure in figures.values()]),
        **_few_tags([figure.pop("draws") for figure in figures.values()]),
        "repositories": figures,
        **result,
    }


def labelled(row: Row) -> LabelledIssue:
    """Convert a row to a training example."""
    return LabelledIssue(row["title"] or "", row["body"] or "", TypeTag(row["label"]))


def short_issues() -> dict[str, Any]:
    """Return the scores of the shipped base model on short plain issues: all, and those with a prediction."""
    rows = read_rows(SHORT_ISSUES, "title", "description", "label")
    predictions = [load_base().predict(row["title"], row["description"]) for row in rows]
    likeliest = [max(found.probabilities, key=found.probabilities.__getitem__) for found in predictions]
    right = [guess == row["label"] for guess, row in zip(likeliest, rows, strict=True)]
    predicted = [found.label == row["label"] for found, row in zip(predictions, rows, strict=True) if found.label]
    return {
        "rows": len(rows),
        "short_accuracy": float(np.mean(right)),
        "predicted": len(predicted),
        "short_predicted_accuracy": float(np.mean(predicted)) if predicted else None,
        "of_type": {
            name: float(np.mean([hit for hit, row in zip(right, rows, strict=True) if row["label"] == name]))
            for name in CLASSES
        },
    }


def _broad_rows(train_file: Path) -> list[Row]:
    beside = train_file.resolve().parent.parent / "types_more" / "train.jsonl"
    return types_rows(beside) if beside.is_file() else []


def _of_repository(
    repository: str, everything: Corpus, learned: Sequence[Row], data: Sequence[Row]
) -> dict[str, Any]:
    """Return the scores of a repository with all, few and none of its tags."""
    own = [labelled(row) for row in learned if row["repo"] == repository]
    rows = [row for row in data if row["repo"] == repository]
    base = train(everything, everything.without([repository]))
    truth = np.array([CLASSES.index(row["label"]) for row in rows])
    # Without its own examples, a repository is assumed to have the types of the task.
    known = sorted({CLASSES.index(row["label"]) for row in learned})
    guesses = _guesses(base, own, rows, known)
    draws = {
        few: [macro_f1(truth, _guesses(base, some, rows, known)) for some in _samples(own, few)] for few in _DRAWS
    }
    return {
        "f1": macro_f1(truth, guesses),
        "right": int((guesses == truth).sum()),
        "accuracy": accuracy(truth, guesses),
        "shipped_base_f1": macro_f1(truth, _guesses(load_base(), own, rows, known)),
        "unseen_f1": macro_f1(truth, _guesses(base, [], rows, known)),
        **{f"f1_{few}": _mean(found) for few, found in draws.items()},
        "draws": draws,
    }


def _few_tags(draws: Sequence[dict[int, list[float]]]) -> dict[str, float]:
    """Return the mean over repositories with few tags, and its standard deviation over the draws."""
    means = {few: np.mean([of_repository[few] for of_repository in draws], axis=0) for few in _DRAWS}
    return {
        **{f"f1_with_{few}_tags": float(found.mean()) for few, found in means.items()},
        **{f"f1_with_{few}_tags_deviation": float(found.std(ddof=1)) for few, found in means.items()},
    }


def _samples(own: Sequence[LabelledIssue], few: int) -> Iterator[list[LabelledIssue]]:
    for seed in range(_DRAWS[few]):
        order = np.random.default_rng(seed).permutation(len(own))[:few]
        yield [own[place] for place in order]


def _guesses(
    base: TypeModel, examples: Sequence[LabelledIssue], rows: Sequence[Row], known: Sequence[int]
) -> NDArray[np.int64]:
    """Return the most likely known class of each row."""
    delta = train_delta(base, examples) if examples else None
    guesses = []
    for row in rows:
        document = read(row["title"] or "", row["body"] or "")
        scores = base.scores(document) + (delta.scores(document) if delta else 0)
        guesses.append(known[int(scores[list(known)].argmax())])
    return np.array(guesses)


def _by_repository(rows: Sequence[Row], base: TypeModel, examples: Sequence[LabelledIssue]) -> list[float]:
    known = sorted({CLASSES.index(row["label"]) for row in rows})
    figures = []
    for repository in sorted({row["repo"] for row in rows}):
        own = [row for row in rows if row["repo"] == repository]
        truth = np.array([CLASSES.index(row["label"]) for row in own])
        figures.append(macro_f1(truth, _guesses(base, examples, own, known)))
    return figures


def _mean(figures: Sequence[float]) -> float:
    return float(np.mean(figures))
