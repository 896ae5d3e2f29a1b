"""The conversation with the model: the prompt is a versioned file, the issue goes beside it, as data."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from openai.types.chat import ChatCompletionMessageParam

from app.enrichment.cleaning import clean_inline, paragraphs
from app.enrichment.interface import IssueText
from app.enrichment.remote.masking import mask
from app.enrichment.sanitize import strip_invisible, truncate_bytes

VERSION = "enrich-1"
"""Name of the prompt's file. A changed prompt is a new file."""

ANSWER_SHOWN = 2000
"""Characters of a wrong answer that the model is shown again."""

Conversation = list[ChatCompletionMessageParam]


@cache
def instructions() -> str:
    """Return the prompt."""
    return (files("app.enrichment.remote") / "prompts" / f"{VERSION}.txt").read_text().strip()


@dataclass(frozen=True, slots=True)
class Prose:
    """An issue's words as they may leave this machine."""

    title: str
    body: str


def prose(issue: IssueText) -> Prose:
    """Return the issue's text cleaned and masked.

    Only prose: code, logs, tables and what a template asked for stay here, and with them most secrets.
    """
    body = "\n".join(strip_invisible(paragraph.text) for paragraph in paragraphs(issue.description))
    return Prose(mask(strip_invisible(clean_inline(issue.title))), mask(body))


def conversation(issue: Prose, max_bytes: int) -> Conversation:
    """Return the request for one issue, of whose text at most `max_bytes` are taken, the title first."""
    title = truncate_bytes(issue.title, max_bytes)
    body = truncate_bytes(issue.body, max_bytes - len(title.encode()))
    data = json.dumps({"title": title, "description": body}, ensure_ascii=False)
    return [{"role": "system", "content": instructions()}, {"role": "user", "content": data}]


def repair(asked: Conversation, answer: str, fault: str) -> Conversation:
    """Return the second request, which says what was wrong with the answer to the first."""
    return [
        *asked,
        {"role": "assistant", "content": answer[:ANSWER_SHOWN]},
        {
            "role": "user",
            "content": f"This answer cannot be used: {fault}. Answer again with the JSON object alone.",
        },
    ]


def token_bound(asked: Conversation, schema_bytes: int) -> int:
    """Return how many tokens the request can have at most: a token stands for at least one byte."""
    return len(json.dumps(asked, ensure_ascii=False).encode()) + schema_bytes
