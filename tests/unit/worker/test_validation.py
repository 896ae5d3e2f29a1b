"""Model comparison with few examples."""

from datetime import UTC, datetime

from app.learning.examples import ConfirmedIssue
from app.learning.learners import TypeLearner
from app.learning.validation import compare
from contracts.ids import new_id


def confirmed(number: int) -> ConfirmedIssue:
    title, tag = (f"Sprout panel {number}", "feature") if number % 2 else (f"Panel {number} wilts", "bug")
    return ConfirmedIssue(new_id(), title, "", frozenset({tag}), datetime.now(UTC))


def test_compare_with_no_remaining_examples_equals_base_comparison() -> None:
    examples = [confirmed(number) for number in range(20)]

    assert compare(TypeLearner(), examples, []) == compare(TypeLearner(), examples, None)


def test_compare_with_active_model_of_one_example_succeeds() -> None:
    examples = [confirmed(number) for number in range(20)]

    assert compare(TypeLearner(), examples, examples[:1]).candidate["accuracy"] > 0.5
