"""ROUGE-L, a score of summaries: the overlap of two texts' words in the same order."""

import re

_WORD = re.compile(r"[^\W_]+")


def rouge_words(text: str) -> list[str]:
    """Return the words that ROUGE compares: lower-cased runs of letters and digits."""
    return _WORD.findall(text.lower())


def rouge_l(candidate: list[str], reference: list[str]) -> float:
    """Return the F1 of the longest common subsequence, from 0 to 1 (Lin, 2004)."""
    common = _longest_common_subsequence(candidate, reference)
    return 2 * common / (len(candidate) + len(reference)) if common else 0.0


def _longest_common_subsequence(first: list[str], second: list[str]) -> int:
    """Return the length of the longest common subsequence, in time len(first) * len(second)."""
    row = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for column, other in enumerate(second, 1):
            above = row[column]
            row[column] = diagonal + 1 if word == other else max(above, row[column - 1])
            diagonal = above
    return row[-1]
