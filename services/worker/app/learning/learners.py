"""One learner for each kind of model: it selects examples, and trains, scores and loads deltas."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from app.enrichment.areas import AreaDelta, area_version, suggest_areas, train_areas
from app.enrichment.classification.types import LabelledIssue, TypeDelta, load_base, train_delta
from app.enrichment.cleaning import clean_inline, paragraphs
from app.learning.examples import ConfirmedIssue
from contracts.states import ModelKind

LEAST_PROBABILITY = 1e-6
"""The lower bound of a predicted probability in the log-likelihood, which avoids log(0)."""


class ProjectLearner(Protocol):
    """The interface of a learner for training. `app.learning.validation.Learner` is the part for validation."""

    kind: ModelKind

    @property
    def base_version(self) -> str:
        """The version of the shipped base model that deltas are trained on."""
        ...

    def select_usable(self, examples: Sequence[ConfirmedIssue]) -> list[ConfirmedIssue]:
        """Return the examples that this kind of model can be trained on."""
        ...

    def train(self, examples: Sequence[ConfirmedIssue]) -> Any:
        """Train a delta on the examples."""
        ...

    def score(self, judged: Sequence[tuple[ConfirmedIssue, Any]]) -> dict[str, float]:
        """Return scores of the predictions for each example with its delta. The first score decides."""
        ...

    def read(self, parameters: bytes) -> Any:
        """Load a stored delta."""
        ...


class TypeLearner:
    """Learns how a project assigns the types bug, feature, question and documentation."""

    kind = ModelKind.TYPE

    @property
    def base_version(self) -> str:
        """The version of the shipped base model."""
        return load_base().version

    def select_usable(self, examples: Sequence[ConfirmedIssue]) -> list[ConfirmedIssue]:
        """Return the examples with a confirmed type."""
        return [example for example in examples if example.type is not None]

    def train(self, examples: Sequence[ConfirmedIssue]) -> TypeDelta:
        """Train a delta on the examples."""
        labelled = [
            LabelledIssue(example.title, example.description, example.type)
            for example in examples
            if example.type is not None
        ]
        return train_delta(load_base(), labelled)

    def score(self, judged: Sequence[tuple[ConfirmedIssue, TypeDelta | None]]) -> dict[str, float]:
        """Return the accuracy, and the mean log-likelihood of the confirmed types."""
        right, likelihood = 0, 0.0
        for example, delta in judged:
            assert example.type is not None
            guess = load_base().predict(example.title, example.description, delta=delta).probabilities
            right += max(guess, key=lambda tag: guess[tag]) == example.type
            likelihood += math.log(max(guess[example.type], LEAST_PROBABILITY))
        count = len(judged)
        return {"accuracy": round(right / count, 4), "log_likelihood": round(likelihood / count, 4)}

    def read(self, parameters: bytes) -> TypeDelta:
        """Load a stored delta."""
        return TypeDelta.from_bytes(parameters)


class AreasLearner:
    """Learns how a project assigns areas."""

    kind = ModelKind.AREAS

    @property
    def base_version(self) -> str:
        """The version of the shipped lexicon."""
        return area_version()

    def select_usable(self, examples: Sequence[ConfirmedIssue]) -> list[ConfirmedIssue]:
        """Return the examples with at least one area. If there is none, people may have omitted it."""
        return [example for example in examples if example.areas]

    def train(self, examples: Sequence[ConfirmedIssue]) -> AreaDelta:
        """Train a delta on the examples."""
        return train_areas([(*_cleaned(example), example.areas) for example in examples])

    def score(self, judged: Sequence[tuple[ConfirmedIssue, AreaDelta | None]]) -> dict[str, float]:
        """Return the micro-averaged F1 of the suggested areas."""
        hits = suggested = confirmed = 0
        for example, delta in judged:
            guess = {tag.name for tag in suggest_areas(*_cleaned(example), delta)}
            hits += len(guess & example.areas)
            suggested += len(guess)
            confirmed += len(example.areas)
        return {"micro_f1": round(2 * hits / max(suggested + confirmed, 1), 4)}

    def read(self, parameters: bytes) -> AreaDelta:
        """Load a stored delta."""
        return AreaDelta.from_bytes(parameters)


def _cleaned(example: ConfirmedIssue) -> tuple[str, str]:
    body = "\n".join(paragraph.text for paragraph in paragraphs(example.description))
    return clean_inline(example.title), body


LEARNERS: dict[ModelKind, Callable[[], ProjectLearner]] = {
    ModelKind.TYPE: TypeLearner,
    ModelKind.AREAS: AreasLearner,
}
"""The learner of each kind of model."""
