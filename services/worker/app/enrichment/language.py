"""Detect the language an issue is written in, with py3langid limited to the languages that users write issues in.

A wrong language suppresses the suggestion of an issue's type, so a text below `CONFIDENCE_MIN` has no language.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

LANGUAGES: Final = frozenset(
    ["de", "en", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "ru", "sv", "tr", "uk", "zh"]
)
"""ISO 639-1 codes. Fewer candidates make short texts more certain."""
READ_CHARS: Final = 4000
"""Characters that are read. More would not change the result."""
CONFIDENCE_MIN: Final = 0.95
"""Lower values report wrong languages of short titles."""
CONFIDENCE_MAX: Final = 0.99
"""No model is ever sure."""


@dataclass(frozen=True, slots=True)
class Language:
    """A language's ISO 639-1 code and the confidence in it, from `CONFIDENCE_MIN` to `CONFIDENCE_MAX`."""

    code: str
    confidence: float


def detect_language(text: str) -> Language | None:
    """Return the language of cleaned prose, or None if the text is too short or too mixed."""
    code, confidence = _identifier().classify(text[:READ_CHARS])
    if confidence < CONFIDENCE_MIN:
        return None
    return Language(code, min(round(confidence, 2), CONFIDENCE_MAX))


@cache
def _identifier() -> "LanguageIdentifier":
    """Load the model on first use: 0.9 s of CPU and 50 MB of memory.

    `LanguageIdentifier.set_languages` would limit it too, but keeps the 124 other languages in memory: 26 MB more.
    """
    from py3langid.langid import MODEL_DIR, MODEL_FILE, LanguageIdentifier  # noqa: PLC0415
    from py3langid.modelio import load_model  # noqa: PLC0415

    weights, priors, codes, transitions, rows, features = load_model(MODEL_DIR / MODEL_FILE)
    kept = [index for index, code in enumerate(codes) if code in LANGUAGES]
    return LanguageIdentifier(
        weights[:, kept],
        priors[kept],
        [codes[index] for index in kept],
        transitions,
        features,
        norm_probs=True,
        tk_row=rows,
    )
