"""Ranks an issue's sentences by how well they describe its topic, with a linear model over surface features.

`evaluation/train_summary.py` trains the weights and the word values. The training maximises the overlap (ROUGE-L)
of the top-ranked sentence with the reporter's title. The value of a word is the log ratio of its probability to
recur in the title, if the body contains it, to that of all words.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from app.enrichment.sentences import Sentence, split_words

HEAD_CHARS: Final = 160
"""Maximum characters of a summary. The rest of a sentence is not scored."""

_STOP_WORDS_TEXT: Final = """
the a an is are was were be been to of in on for and or but not it its this that these those i we you my our
your he they them as at by with from if when then than so do does did have has had can could would should
will just also there here what which who how why because all any some no only very more most such into about
after before up down out over same other like get got use using used make made see want need
"""
_STOP_WORDS: Final = frozenset(_STOP_WORDS_TEXT.split())
_FAULT = re.compile(
    r"\b(?:error|fail|crash|broken|bug|wrong|incorrect|exception|missing|invalid|problem|cannot|can't|can not|"
    r"unable|"
    r"doesn't|"
    r"does not|isn't|is not|don't|not work|no longer|instead of|unexpected)"
)
_WISH = re.compile(
    r"\b(?:should|would be|could|add|support|allow|improve|feature|want|need|nice|propose|suggest|please|"
    r"implement|"
    r"possib)"
)
_REPORTER = re.compile(r"\b(?:i|i'm|i've|my|me|we|our|us)\b")
_ABOUT_THE_REPORT = re.compile(
    r"\b(?:screenshot|attach|below|following|above|here is|here's|example|see |link|reported|version|reproduc|"
    r"steps|"
    r"tested|thank|let me know|hope|sorry|question|this issue|this bug|i(?:'m| am) (?:using|running|on)\b|i use\b|"
    r"my (?:computer|machine|system|setup|os)\b|not sure)"
)


@dataclass(frozen=True, slots=True)
class SentenceContext:
    """A sentence, its words, and how many sentences of the issue contain each word."""

    sentence: Sentence
    head: str
    """Its first `HEAD_CHARS` characters."""
    lower: str
    """The head in lower case."""
    words: list[str]
    content: list[str]
    """The words without stop words."""
    counts: Counter[str]
    word_values: dict[str, float]

    def value_of_words(self) -> float:
        """Return the expected number of the title's words in the sentence, relative to its length."""
        expected = sum(math.exp(self.word_values.get(word, 0.0)) for word in {*self.words})
        return expected / (len(self.words) + 8)

    def mean_value(self) -> float:
        """Return the mean of the words' values."""
        return sum(self.word_values.get(word, 0.0) for word in {*self.words}) / (len(self.words) or 1)

    def recurring(self) -> float:
        """Return the share of words that also occur in other sentences."""
        return sum(self.counts[word] > 1 for word in self.content) / (len(self.content) or 1)

    def share(self, test: Callable[[str], bool]) -> float:
        """Return the share of the head's tokens after the first that pass the test."""
        tokens = self.head.split()
        return sum(map(test, tokens[1:])) / (len(tokens) or 1)


FEATURES: Final[dict[str, Callable[[SentenceContext], float]]] = {
    "first": lambda seen: seen.sentence.index == 0,
    "log_index": lambda seen: math.log1p(seen.sentence.index),
    "log_index_in_section": lambda seen: math.log1p(seen.sentence.in_section),
    "leads_paragraph": lambda seen: seen.sentence.leads,
    "main_section": lambda seen: seen.sentence.weight == 2,
    "side_section": lambda seen: seen.sentence.weight == 0,
    "expected_section": lambda seen: seen.sentence.section == "expected",
    "details_section": lambda seen: seen.sentence.section in {"details", "logs", "environment"},
    "checklist_section": lambda seen: seen.sentence.section == "checklist",
    "under_4_words": lambda seen: len(seen.words) < 4,
    "under_6_words": lambda seen: len(seen.words) < 6,
    "under_8_words": lambda seen: len(seen.words) < 8,
    "log_words": lambda seen: math.log(len(seen.words) or 1),
    "cut": lambda seen: len(seen.sentence.text) > HEAD_CHARS,
    "content": lambda seen: len(seen.content) / (len(seen.words) or 1),
    "recurring": SentenceContext.recurring,
    "capitalised": lambda seen: seen.share(lambda token: token[0].isupper()),
    "digits": lambda seen: seen.share(lambda token: not token.isalpha() and any(map(str.isdigit, token))),
    "fault": lambda seen: bool(_FAULT.search(seen.lower)),
    "wish": lambda seen: bool(_WISH.search(seen.lower)),
    "reporter": lambda seen: bool(_REPORTER.search(seen.lower)),
    "about_the_report": lambda seen: bool(_ABOUT_THE_REPORT.search(seen.lower)),
    "question": lambda seen: seen.sentence.text.endswith("?"),
    "lower_case": lambda seen: seen.sentence.text[0].islower(),
    "full_stop": lambda seen: seen.sentence.text.endswith((".", "!", "\u3002")),
    "gap": lambda seen: "\u2026" in seen.head,
    "trimmed": lambda seen: seen.sentence.trimmed,
    "first_clause": lambda seen: seen.sentence.first_clause,
    "words_expected": SentenceContext.value_of_words,
    "words_mean": SentenceContext.mean_value,
}
"""The features of a sentence."""


@dataclass(frozen=True, slots=True)
class RankingModel:
    """The weights of the features and the values of words."""

    weights: dict[str, float]
    words: dict[str, float]


@cache
def load_model() -> RankingModel:
    """Load `data/summary-ranking.json`; raise ValueError if its features do not match these."""
    document = json.loads((files("app.enrichment") / "data" / "summary-ranking.json").read_text(encoding="utf-8"))
    if {*document["weights"]} != {*FEATURES}:
        raise ValueError("the features in data/summary-ranking.json are outdated. Run `make train`.")
    return RankingModel(document["weights"], document["words"])


def build_contexts(candidates: list[Sentence], word_values: dict[str, float]) -> list[SentenceContext]:
    """Return the context of each candidate."""
    heads = [sentence.text[:HEAD_CHARS] for sentence in candidates]
    words = [split_words(head) for head in heads]
    counts = Counter(
        word for sentence, row in zip(candidates, words, strict=True) if not sentence.trimmed for word in {*row}
    )
    return [
        SentenceContext(
            sentence, head, head.lower(), row, [word for word in row if _is_content(word)], counts, word_values
        )
        for sentence, head, row in zip(candidates, heads, words, strict=True)
    ]


def extract_features(seen: SentenceContext) -> list[float]:
    """Return the features in the order of FEATURES."""
    return [float(feature(seen)) for feature in FEATURES.values()]


def score(seen: SentenceContext, model: RankingModel) -> float:
    """Return the score. Only the order of scores is meaningful."""
    return sum(
        weight * feature for weight, feature in zip(model.weights.values(), extract_features(seen), strict=True)
    )


def _is_content(word: str) -> bool:
    return word not in _STOP_WORDS and (len(word) > 1 or ord(word) > 0x2FFF)
