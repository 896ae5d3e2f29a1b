"""Trains the ranking of sentences: `services/worker/app/enrichment/data/summary-ranking.json`.

Each row of the files has `repo`, `title` and `body`. A word gets a value if it occurs in at least `WORD_COUNT_MIN`
issues and `WORD_REPOS_MIN` repositories, because words of a single project are not useful elsewhere. The weights
maximise the expected ROUGE-L of a softmax over an issue's sentences (full-batch Adam).
"""

import json
import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.enrichment.cleaning import paragraphs
from app.enrichment.ranking import FEATURES, build_contexts, extract_features
from app.enrichment.sentences import Sentence, sentences, split_words
from app.enrichment.summary import cut_at_clause
from evaluation.issues import Row, read_rows
from evaluation.rouge import rouge_l, rouge_words

ARTEFACT = Path(__file__).parents[1] / "services/worker/app/enrichment/data/summary-ranking.json"
WORD_COUNT_MIN = 50
WORD_REPOS_MIN = 5
WORD_PRIOR = 20.0
"""The weight, in issues, of the prior that a word is like any other."""
STEPS = 400
LEARNING_RATE = 0.1
SHARPNESS = 10.0
"""The weight of ROUGE-L relative to the L2 penalty."""
L2 = 1e-3

Array = NDArray[np.float64]
Issue = tuple[str, str, list[Sentence]]
"""Repository, title, sentences."""


def read_issues(paths: list[Path]) -> list[Issue]:
    """Return the issues with at least one sentence, without rows that are also in a held-out part."""
    rows = [row for path in paths for row in read_rows(path, "repo", "title", "body")]
    issues = [_issue(row) for row in rows if not row.get("also_in_heldout")]
    return [issue for issue in issues if issue[2]]


def word_values(issues: list[Issue]) -> dict[str, float]:
    """Return for each frequent word the log ratio of its probability to recur in the title to the average."""
    held: Counter[str] = Counter()
    recurring: Counter[str] = Counter()
    repos: defaultdict[str, set[str]] = defaultdict(set)
    for repo, title, candidates in issues:
        in_title = {*split_words(title)}
        for word in {word for candidate in candidates for word in split_words(candidate.text[:160])}:
            held[word] += 1
            recurring[word] += word in in_title
            repos[word].add(repo)
    base = recurring.total() / held.total()
    return {
        word: round(math.log((recurring[word] + WORD_PRIOR * base) / (count + WORD_PRIOR) / base), 2)
        for word, count in sorted(held.items())
        if count >= WORD_COUNT_MIN and len(repos[word]) >= WORD_REPOS_MIN and word.isalpha()
    }


def matrices(issues: list[Issue], values: dict[str, float]) -> tuple[Array, Array, NDArray[np.intp]]:
    """Return features (sentences x features), ROUGE-L (sentences), and the first sentence of each issue."""
    features: list[list[float]] = []
    targets: list[float] = []
    starts: list[int] = []
    for _, title, candidates in issues:
        reference = rouge_words(title)
        starts.append(len(features))
        features.extend(extract_features(seen) for seen in build_contexts(candidates, values))
        targets.extend(rouge_l(rouge_words(cut_at_clause(candidate.text)), reference) for candidate in candidates)
    return np.array(features), np.array(targets), np.array(starts)


def shares_of(issues: list[Issue]) -> Array:
    """Return the weight of each issue, 1 on average. It is lower for repositories with more issues."""
    counts = Counter(repo for repo, _, _ in issues)
    shares = np.array([counts[repo] ** -0.5 for repo, _, _ in issues])
    return np.asarray(shares / shares.mean())


def fit(features: Array, targets: Array, starts: NDArray[np.intp], counts: Array) -> Array:
    """Return the weights, one per feature. `counts` are the weights of the issues."""
    scale = features.std(axis=0) + 1e-9
    scaled = (features - features.mean(axis=0)) / scale
    issue_of = np.repeat(np.arange(len(starts)), np.diff([*starts, len(targets)]))
    weights = np.zeros(features.shape[1])
    mean = np.zeros_like(weights)
    square = np.zeros_like(weights)
    for step in range(1, STEPS + 1):
        scores = scaled @ weights
        shares = np.exp(scores - np.maximum.reduceat(scores, starts)[issue_of])
        shares /= np.add.reduceat(shares, starts)[issue_of]
        expected = np.add.reduceat(shares * targets, starts)
        gain = scaled.T @ (shares * (targets - expected[issue_of]) * counts[issue_of]) / len(starts)
        gradient = L2 * weights - SHARPNESS * gain
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient**2
        weights -= LEARNING_RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
    return np.asarray(weights / scale)


def train(paths: list[Path]) -> dict[str, object]:
    """Return the content of the artefact."""
    issues = read_issues(paths)
    values = word_values(issues)
    weights = fit(*matrices(issues, values), shares_of(issues))
    return {
        "about": "Ranking of an issue's sentences: trained by evaluation/train_summary.py",
        "trained_on": {"issues": len(issues), "repositories": sorted({repo for repo, _, _ in issues})},
        "weights": {name: round(float(weight), 3) for name, weight in zip(FEATURES, weights, strict=True)},
        "words": values,
    }


def _issue(row: Row) -> Issue:
    return row["repo"], row["title"], sentences(paragraphs(row["body"] or ""))


def train_summary(directory: Path, target: Path = ARTEFACT) -> dict[str, object]:
    """Train and write the ranking from `types_more/train.jsonl` and `types/train.jsonl` of a directory."""
    artefact = train([directory / "types_more" / "train.jsonl", directory / "types" / "train.jsonl"])
    target.write_text(json.dumps(artefact, indent=1) + "\n", encoding="utf-8")
    return artefact
