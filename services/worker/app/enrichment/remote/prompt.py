"""Builds the conversation with the model. The prompt is a versioned file; the issue is passed as separate data."""

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
"""The name of the prompt's file. A changed prompt needs a new file."""

ANSWER_MAX = 2000
"""Maximum characters of an invalid answer that are included in the repair request."""

Conversation = list[ChatCompletionMessageParam]


@cache
def read_instructions() -> str:
    """Return the prompt."""
    return (files("app.enrichment.remote") / "prompts" / f"{VERSION}.txt").read_text().strip()


@dataclass(frozen=True, slots=True)
class Prose:
    """An issue's text in the form in which it may leave this machine."""

    title: str
    body: str


def extract_prose(issue: IssueText) -> Prose:
    """Return the issue's text cleaned and masked.

    Only prose is included. Code, logs, tables and template text are removed, and with them most secrets.
    """
    body = "\n".join(strip_invisible(paragraph.text) for paragraph in paragraphs(issue.description))
    return Prose(mask(strip_invisible(clean_inline(issue.title))), mask(body))


def build_conversation(issue: Prose, max_bytes: int) -> Conversation:
    """Return the request for one issue, with at most `max_bytes` of its text, the title first."""
    title = truncate_bytes(issue.title, max_bytes)
    body = truncate_bytes(issue.body, max_bytes - len(title.encode()))
    data = json.dumps({"title": title, "description": body}, ensure_ascii=False)
    return [{"role": "system", "content": read_instructions()}, {"role": "user", "content": data}]


def build_repair(messages: Conversation, answer: str, fault: str) -> Conversation:
    """Return the second request, which describes the fault in the answer to the first."""
    return [
        *messages,
        {"role": "assistant", "content": answer[:ANSWER_MAX]},
        {
            "role": "user",
            "content": f"This answer cannot be used: {fault}. Answer again with the JSON object alone.",
        },
    ]


def bound_tokens(messages: Conversation, schema_bytes: int) -> int:
    """Return the maximum number of tokens in the request: a token has at least one byte."""
    return len(json.dumps(messages, ensure_ascii=False).encode()) + schema_bytes
