"""Compares what could be learned with what is active, on issues that neither has seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol, TypeVar

from app.learning.examples import ConfirmedIssue

Delta = TypeVar("Delta")

FOLDS = 5


class Learner(Protocol[Delta]):
    """Learns one kind of delta from examples, and tells how good one is."""

    def train(self, examples: Sequence[ConfirmedIssue]) -> Delta:
        """Return the delta that the examples teach."""
        ...

    def score(self, judged: Sequence[tuple[ConfirmedIssue, Delta | None]]) -> dict[str, float]:
        """Return figures of how well each example is guessed with its delta; None is the base alone.

        The first figure decides, the next ones where it is equal; more is better.
        """
        ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """The figures of the candidate and of what is active, on the same unseen issues."""

    candidate: dict[str, float]
    active: dict[str, float]

    @property
    def is_better(self) -> bool:
        """Tell whether the candidate deserves to be active."""
        return tuple(self.candidate.values()) > tuple(self.active.values())


def compare(
    learner: Learner[Delta], examples: Sequence[ConfirmedIssue], known: Sequence[ConfirmedIssue] | None
) -> Comparison:
    """Cross-validate a delta learned from `examples` against one learned from `known`; None: against the base.

    Each fold's issues are guessed by deltas that were trained on the other folds only. So what is active is
    judged by what its examples teach, not by those that it has learned by heart.
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
        # Of what is active nothing may be left: people confirm the same issues again.
        before = learner.train(seen) if seen else None
        candidate += [(example, learned) for example in fold]
        active += [(example, before) for example in fold]
    return Comparison(learner.score(candidate), learner.score(active))


def _shuffled(example: ConfirmedIssue) -> bytes:
    # Ids sort by time; folds should not.
    return sha256(example.issue_id.bytes).digest()
