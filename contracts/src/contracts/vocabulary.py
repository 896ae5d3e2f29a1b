"""The closed vocabulary of tags: what people may set and machines may suggest, and nothing else."""

import re
from enum import StrEnum


class TypeTag(StrEnum):
    """What kind of issue it is; they exclude each other."""

    BUG = "bug"
    FEATURE = "feature"
    QUESTION = "question"
    DOCUMENTATION = "documentation"


class AreaTag(StrEnum):
    """What part of the product it is about."""

    FRONTEND = "frontend"
    BACKEND = "backend"
    PERFORMANCE = "performance"
    SECURITY = "security"
    TESTING = "testing"
    I18N = "i18n"
    BUILD_CI = "build-ci"
    API = "api"


LANGUAGE_TAG = re.compile(r"lang:[a-z]{2}")
"""`lang:fr`: the issue is not in English but in the language of that ISO 639-1 code."""

MAX_TAGS = 10
"""Tags of one issue."""

_WORDS = {*TypeTag, *AreaTag}


def is_tag(word: str) -> bool:
    """Tell whether the word is of the vocabulary."""
    return word in _WORDS or LANGUAGE_TAG.fullmatch(word) is not None
