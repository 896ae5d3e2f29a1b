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


DESCRIPTIONS: dict[str, str] = {
    TypeTag.BUG: "Something does not work as it should",
    TypeTag.FEATURE: "Something new, or something that could be better",
    TypeTag.QUESTION: "Somebody asks how, or why",
    TypeTag.DOCUMENTATION: "Something written is missing, wrong or unclear",
    AreaTag.FRONTEND: "What people see and click",
    AreaTag.BACKEND: "What works behind it: services, jobs, data",
    AreaTag.PERFORMANCE: "Too slow, or too hungry",
    AreaTag.SECURITY: "Who may do what, and what leaks",
    AreaTag.TESTING: "Tests, and what they run on",
    AreaTag.I18N: "Languages, scripts, time zones",
    AreaTag.BUILD_CI: "Building, packaging, continuous integration",
    AreaTag.API: "What other programs call",
    "lang:xx": "Written in the language of that ISO 639-1 code, where it is not English",
}
"""Every word and what it means where nobody has said it in other words; `lang:xx` stands for all of these."""

LANGUAGE_TAG = re.compile(r"lang:[a-z]{2}")
"""`lang:fr`: the issue is not in English but in the language of that ISO 639-1 code."""

MAX_TAGS = 10
"""Tags of one issue."""

_WORDS = {*TypeTag, *AreaTag}

TAG_PATTERN = f"^({'|'.join([*TypeTag, *AreaTag])}|lang:[a-z]{{2}})$"
"""A word of the vocabulary, for schemas."""


def is_tag(word: str) -> bool:
    """Tell whether the word is of the vocabulary."""
    return word in _WORDS or LANGUAGE_TAG.fullmatch(word) is not None
