"""Label values from fixed sets, so that clients and messages cannot create new series."""

from collections.abc import Iterable

OTHER = "other"


def known_or_other(words: Iterable[str], word: str) -> str:
    """Return the word if it is in `words`, otherwise `other`."""
    return (
        word if word in [*words] else OTHER
    )  # before Python 3.12, `in` on an enumeration raises TypeError for a string
