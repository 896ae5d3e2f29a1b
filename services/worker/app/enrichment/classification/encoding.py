"""Encodes a document as a row of numbers: TF-IDF per block, then the hand-made features, then a one."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from app.enrichment.classification.features import Document
from app.enrichment.classification.hand_features import HAND_FEATURE_NAMES
from app.enrichment.classification.linear import Floats, Integers, SparseRows

_BLOCK_LENGTHS = {
    "title": 1.0,
    "first": 0.5,
    "letters": 1.0,
    "text": 1.0,
    "heading": 0.7,
    "answer": 0.7,
    "code": 0.7,
}
_SIGN_LENGTH = 0.2
BELIEF = 300
"""The weight, in documents, of the prior that a project's terms are as rare as in the base's corpus."""


class Encoder:
    """Terms (`block:term`) with a column and an inverse document frequency each, and the scale of the features.

    A row has `len(terms) + len(spread) + 1` columns. The known terms of each block are normalised to a fixed
    length, so that a long description has no more weight than a short one. If `unknown` is not 0, unknown terms
    count in this length too: a vocabulary of few examples knows only few of a block's terms, which must not get
    the weight of the whole block.
    """

    def __init__(
        self, terms: Sequence[str], rarities: Floats, centre: Floats, spread: Floats, unknown: float = 0.0
    ) -> None:
        self.terms = terms
        self.unknown = unknown
        self.rarities, self.centre, self.spread = rarities, centre, spread
        self.width = len(terms) + len(HAND_FEATURE_NAMES) + 1
        self._columns: dict[str, dict[str, int]] = {block: {} for block in _BLOCK_LENGTHS}
        for column, name in enumerate(terms):
            self._columns[name.partition(":")[0]][name] = column

    def row(self, document: Document) -> tuple[Integers, Floats]:
        """Return the columns and values of a document."""
        columns: list[Integers] = []
        values: list[Floats] = []
        for block, length in _BLOCK_LENGTHS.items():
            known = self._columns[block]
            terms = document.blocks[block]
            found = [(known[term], count) for term, count in terms.items() if term in known]
            if not found:
                continue
            places, counts = np.array(found, dtype=np.int64).T
            weights = (1 + np.log(counts)) * self.rarities[places]
            square = (weights * weights).sum()
            if self.unknown and len(found) < len(terms):
                others = np.array([count for term, count in terms.items() if term not in known])
                square += (((1 + np.log(others)) * self.unknown) ** 2).sum()
            columns.append(places)
            values.append(weights * (length / np.sqrt(square)))
        columns.append(np.arange(len(self.terms), self.width))
        values.append(np.append(_SIGN_LENGTH * (document.hand_features - self.centre) / self.spread, 1.0))
        return np.concatenate(columns), np.concatenate(values)

    def shares_of(self, terms: Sequence[str]) -> Floats:
        """Return the share of documents that contain each term. Unknown terms are as rare as the rarest term."""
        rarest = self.rarities.max()
        known = [self._columns.get(term.partition(":")[0], {}).get(term) for term in terms]
        rarities = np.array([rarest if column is None else self.rarities[column] for column in known])
        return np.asarray(np.exp(1 - rarities))

    def rows(self, documents: Sequence[Document]) -> SparseRows:
        """Return a matrix with one row per document."""
        return SparseRows.stack([self.row(document) for document in documents], self.width)


def fit_terms(
    documents: Sequence[Document], least: Mapping[str, int], most: int, base: Encoder | None = None
) -> tuple[list[str], Floats]:
    """Return the `most` most frequent terms that occur in at least `least[block]` documents, and their rarity.

    The terms are in alphabetical order. Rarity is the smoothed inverse document frequency. With a base, `BELIEF`
    further documents are assumed, in which terms are as frequent as in the base's corpus.
    """
    frequencies: Counter[str] = Counter()
    for document in documents:
        for counts in document.blocks.values():
            frequencies.update(counts.keys())
    kept = [
        term for term, count in frequencies.items() if count >= least[term.partition(":")[0]] and "\n" not in term
    ]
    kept = sorted(sorted(kept, key=lambda term: (-frequencies[term], term))[:most])
    found = np.array([frequencies[term] for term in kept], dtype=np.float64)
    if base is None:
        return kept, rarity(found, len(documents))
    return kept, rarity(found + BELIEF * base.shares_of(kept), len(documents) + BELIEF)


def rarity(found: Floats, documents: int) -> Floats:
    """Return the smoothed inverse document frequency of terms that occur in `found` of the documents."""
    return np.asarray(np.log((1 + documents) / (1 + found)) + 1)


def fit_hand_features(documents: Sequence[Document]) -> tuple[Floats, Floats]:
    """Return the mean and the standard deviation of each hand-made feature."""
    table = np.array([document.hand_features for document in documents])
    return table.mean(axis=0), table.std(axis=0) + 1e-3
