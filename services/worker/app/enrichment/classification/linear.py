"""Multinomial logistic regression on sparse rows, with numpy only.

Sums have a fixed order (`bincount`, `sum`; no BLAS, no threads). The same data therefore give bit-identical
weights on the same machine.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_MEMORY = 10
_ARMIJO = 1e-4
_SHORTEST_STEP = 1e-10


@dataclass(frozen=True, slots=True)
class SparseRows:
    """A sparse matrix of `height` rows and `width` columns with the entries rows[i], columns[i], values[i].

    The entries may be in any order. Entries at the same position are added.
    """

    rows: Integers
    columns: Integers
    values: Floats
    height: int
    width: int

    @classmethod
    def stack(cls, vectors: Sequence[tuple[Integers, Floats]], width: int) -> "SparseRows":
        """Return a matrix with one row for each pair of columns and values."""
        lengths = [len(columns) for columns, _ in vectors]
        return cls(
            rows=np.repeat(np.arange(len(vectors), dtype=np.int64), lengths),
            columns=np.concatenate([columns for columns, _ in vectors]).astype(np.int64),
            values=np.concatenate([values for _, values in vectors]).astype(np.float64),
            height=len(vectors),
            width=width,
        )

    def times(self, weights: Floats) -> Floats:
        """Return the product with `weights` (classes x width): scores, height x classes."""
        scores = np.empty((self.height, len(weights)))
        for index, row in enumerate(weights):
            scores[:, index] = np.bincount(self.rows, self.values * row[self.columns], self.height)
        return scores

    def transposed_times(self, scores: Floats) -> Floats:
        """Return the sums of the rows, weighted with `scores` (height x classes): classes x width."""
        sums = np.empty((scores.shape[1], self.width))
        for index in range(scores.shape[1]):
            sums[index] = np.bincount(self.columns, self.values * scores[self.rows, index], self.width)
        return sums


def softmax(scores: Floats) -> Floats:
    """Return probabilities, row by row."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def fit_logistic(  # noqa: PLR0913 - each parameter is a part of the objective
    rows: SparseRows,
    labels: Integers,
    classes: int,
    *,
    penalty: float | Floats,
    offsets: Floats | None = None,
    sample_weights: Floats | None = None,
    iterations: int = 200,
    tolerance: float = 1e-4,
) -> Floats:
    """Return the weights (classes x width) that minimise the penalised log loss.

    The objective is sum(sample weight * log loss) + sum(penalty / 2 * weight squared). `penalty` is one number or
    one per column. `offsets` (height x classes) are fixed scores to which the weights add. There is no intercept:
    add a column of ones to the rows.
    """
    truth = np.eye(classes)[labels]
    weighting = np.ones(rows.height) if sample_weights is None else sample_weights
    base = np.zeros((rows.height, classes)) if offsets is None else offsets
    shape = (classes, rows.width)

    def objective(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(shape)
        scores = base + rows.times(weights)
        top = scores.max(axis=1, keepdims=True)
        log_sums = top[:, 0] + np.log(np.exp(scores - top).sum(axis=1))
        losses = log_sums - (scores * truth).sum(axis=1)
        errors = (softmax(scores) - truth) * weighting[:, None]
        shrinkage = penalty * weights
        loss = float((losses * weighting).sum() + 0.5 * (shrinkage * weights).sum())
        return loss, (rows.transposed_times(errors) + shrinkage).ravel()

    return minimise(objective, np.zeros(classes * rows.width), iterations, tolerance).reshape(shape)


def minimise(
    objective: Callable[[Floats], tuple[float, Floats]], start: Floats, iterations: int, tolerance: float
) -> Floats:
    """Minimise a smooth convex function, which returns its value and gradient, with L-BFGS.

    Stops when the norm of the gradient is below `tolerance` times its initial value, or after `iterations`.
    """
    point = start
    value, gradient = objective(point)
    enough = tolerance * _norm(gradient)
    history: deque[tuple[Floats, Floats, float]] = deque(maxlen=_MEMORY)
    for _ in range(iterations):
        if _norm(gradient) <= enough:
            break
        direction = -_precondition(gradient, history)
        slope = _dot(direction, gradient)
        step = 1.0 if history else min(1.0, 1.0 / _norm(gradient))
        while step > _SHORTEST_STEP:
            next_value, next_gradient = objective(point + step * direction)
            if next_value <= value + _ARMIJO * step * slope:
                break
            step /= 2
        else:
            break
        change, bend = step * direction, next_gradient - gradient
        if (curvature := _dot(change, bend)) > 0:
            history.append((change, bend, curvature))
        point, value, gradient = point + change, next_value, next_gradient
    return point


def _precondition(gradient: Floats, history: deque[tuple[Floats, Floats, float]]) -> Floats:
    """Multiply the gradient with the approximate inverse Hessian (two-loop recursion)."""
    result = gradient.copy()
    shares = []
    for change, bend, curvature in reversed(history):
        share = _dot(change, result) / curvature
        result -= share * bend
        shares.append(share)
    if history:
        _, bend, curvature = history[-1]
        result *= curvature / _dot(bend, bend)
    for (change, bend, curvature), share in zip(history, reversed(shares), strict=True):
        result += change * (share - _dot(bend, result) / curvature)
    return result


def _dot(left: Floats, right: Floats) -> float:
    return float((left * right).sum())


def _norm(vector: Floats) -> float:
    return float(np.sqrt(_dot(vector, vector)))
