"""Compares a candidate model with the active model on issues that were held out from both trainings."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol, TypeVar

from app.learning.examples import ConfirmedIssue

Delta = TypeVar("Delta")

FOLDS = 5


class Learner(Protocol[Delta]):
    """Trains and scores one kind of delta."""

    def train(self, examples: Sequence[ConfirmedIssue]) -> Delta:
        """Train a delta on the examples."""
        ...

    def score(self, judged: Sequence[tuple[ConfirmedIssue, Delta | None]]) -> dict[str, float]:
        """Return scores of the predictions for each example with its delta; None means the base model only.

        Higher is better. The first score decides; the next scores break ties.
        """
        ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """The scores of the candidate and of the active model on the same held-out issues."""

    candidate: dict[str, float]
    active: dict[str, float]

    @property
    def is_better(self) -> bool:
        """Whether the candidate scores better than the active model."""
        return tuple(self.candidate.values()) > tuple(self.active.values())


def compare(
    learner: Learner[Delta], examples: Sequence[ConfirmedIssue], known: Sequence[ConfirmedIssue] | None
) -> Comparison:
    """Cross-validate a delta trained on `examples` against one trained on `known`, or the base model if None.

    The issues of each fold are predicted by deltas that were trained on the other folds only. The active model
    is retrained in the same way, so that it is not scored on its own training examples.
    """
    folds: list[list[ConfirmedIssue]] = [[] for _ in range(FOLDS)]
    for index, example in enumerate(sorted(examples, key=_shuffled)):
        folds[index % FOLDS].append(example)
    candidate: list[tuple[ConfirmedIssue, Delta | None]] = []
    active: list[tuple[ConfirmedIssue, Delta | None]] = []
    for fold in folds:
        unseen = {example.issue_id for example in fold}
        learned = learner.train([example for example in examples if example.issue_id not in unseen])
        seen = [example for example in known or () if example.issue_id not in unseen]
        # None of the active model's examples may be left, if people confirmed the same issues again.
        before = learner.train(seen) if seen else None
        candidate += [(example, learned) for example in fold]
        active += [(example, before) for example in fold]
    return Comparison(learner.score(candidate), learner.score(active))


def _shuffled(example: ConfirmedIssue) -> bytes:
    # Ids sort by time, but folds should not.
    return sha256(example.issue_id.bytes).digest()
