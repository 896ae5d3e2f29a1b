import numpy as np
import pytest

from app.enrichment.classification.linear import SparseRows, fit_logistic, softmax


def example(seed=0, height=300, width=12, classes=3):
    random = np.random.default_rng(seed)
    dense = random.normal(size=(height, width)) * (random.random((height, width)) < 0.4)
    labels = (dense @ random.normal(size=(width, classes)) + random.gumbel(size=(height, classes))).argmax(axis=1)
    rows, columns = np.nonzero(dense)
    return dense, SparseRows(rows, columns, dense[rows, columns], height, width), labels


def test_sparse_products_equal_dense_products():
    dense, sparse, _ = example()
    weights = np.random.default_rng(1).normal(size=(3, 12))

    assert np.allclose(sparse.times(weights), dense @ weights.T)
    assert np.allclose(sparse.transposed_times(dense[:, :3]), dense[:, :3].T @ dense)


def test_sparse_rows_without_entries_score_zero():
    empty = (np.array([], dtype=np.int64), np.array([]))
    rows = SparseRows.stack([empty, (np.array([1]), np.array([2.0])), empty], 3)

    assert rows.times(np.ones((2, 3))).tolist() == [[0, 0], [2, 2], [0, 0]]


def test_fit_logistic_converges_to_zero_gradient():
    dense, sparse, labels = example()
    penalty = np.linspace(0.5, 2, 12)
    counted = np.random.default_rng(2).random(300)
    offsets = np.random.default_rng(3).normal(size=(300, 3))

    weights = fit_logistic(
        sparse, labels, 3, penalty=penalty, offsets=offsets, sample_weights=counted, tolerance=1e-8
    )

    errors = (softmax(offsets + dense @ weights.T) - np.eye(3)[labels]) * counted[:, None]
    assert np.abs(errors.T @ dense + penalty * weights).max() < 1e-5


def test_fit_logistic_with_same_data_is_bitwise_identical():
    _, sparse, labels = example()

    first, second = (fit_logistic(sparse, labels, 3, penalty=1.0) for _ in range(2))

    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("label", [0, 2])
def test_fit_logistic_with_one_class_has_bounded_weights(label):
    _, sparse, _ = example()

    weights = fit_logistic(sparse, np.full(300, label), 3, penalty=1.0)

    assert np.isfinite(weights).all()
    assert np.abs(weights).max() < 10
