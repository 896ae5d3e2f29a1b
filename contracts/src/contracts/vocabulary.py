"""The closed vocabulary of tags: the only tags that people can set and models can suggest."""

import re
from enum import StrEnum


class TypeTag(StrEnum):
    """The type of an issue. An issue has at most one."""

    BUG = "bug"
    FEATURE = "feature"
    QUESTION = "question"
    DOCUMENTATION = "documentation"


class AreaTag(StrEnum):
    """The part of the product that an issue is about."""

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
    TypeTag.FEATURE: "A new function or an improvement",
    TypeTag.QUESTION: "A question about how or why something works",
    TypeTag.DOCUMENTATION: "Documentation is missing, wrong or unclear",
    AreaTag.FRONTEND: "The user interface",
    AreaTag.BACKEND: "Services, jobs and data",
    AreaTag.PERFORMANCE: "Speed and use of resources",
    AreaTag.SECURITY: "Access rights, leaks and vulnerabilities",
    AreaTag.TESTING: "Tests and test environments",
    AreaTag.I18N: "Languages, scripts, time zones",
    AreaTag.BUILD_CI: "Building, packaging, continuous integration",
    AreaTag.API: "The interface for other programs",
    "lang:xx": "Written in the language with that ISO 639-1 code, if it is not English",
}
"""The default description of every tag. `lang:xx` describes all language tags."""

MAX_TAGS = 10
"""Maximum number of tags of one issue."""

TAG_PATTERN = f"^({'|'.join([*TypeTag, *AreaTag])}|lang:[a-z]{{2}})$"
"""The pattern of a tag. `lang:fr` tags an issue in the language with that ISO 639-1 code."""

TAG_RULE = f"{', '.join([*TypeTag, *AreaTag])} or lang:xx"
"""The same rule for sentences: the tags that people can use."""

_TAG = re.compile(TAG_PATTERN)


def is_tag(word: str) -> bool:
    """Return whether the word is in the vocabulary."""
    return _TAG.fullmatch(word) is not None
