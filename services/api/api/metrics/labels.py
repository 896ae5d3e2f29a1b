"""Label values out of a fixed set: what a client or a message names is never one by itself."""

from collections.abc import Iterable

OTHER = "other"


def known_or_other(words: Iterable[str], word: str) -> str:
    """Return the word if it is one of these, else `other`."""
    return word if word in [*words] else OTHER  # before Python 3.12 an enumeration refuses to be asked
