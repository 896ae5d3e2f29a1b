"""Evaluates the search for words and parts of identifiers with the API's functions and a real PostgreSQL.

DATA has issues (title, description). The queries are taken from them, the same number of each kind. An issue is
relevant if its text contains the query between characters that are no letters or digits, or at a hump of camel
case, regardless of case and accents. This definition shares no code with the search. `before` is the search of
PostgreSQL alone.
"""

import asyncio
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import URL

from api.database import Database, open_database
from api.issues.search import compile_terms, read_search
from api.settings import ApiSettings
from contracts.ids import new_id
from contracts.limits import DESCRIPTION_MAX, TITLE_MAX
from evaluation.issues import Row, read_rows
from evaluation.server import run_server

PER_KIND = 26
LENGTH_MIN = 4
KINDS = {
    "class": r"(?:[a-z]\w*\.)+(?P<query>[A-Z][A-Za-z]+)\b",
    "camel case": r"\b(?P<query>[A-Z][a-z]+[A-Z][a-z]+)[A-Z][a-z]+\b",
    "snake case": r"\b[a-z]+_(?P<query>[a-z]+_[a-z]+|[a-z]{4,})\b",
    "file": r"\b[\w-]+/(?P<query>[\w-]+\.[a-z]{2,4})\b",
    "version": r"\bv(?P<query>\d+\.\d+\.\d+)\b",
    "host": r"\bhttps?://(?P<query>[a-z0-9-]+\.[a-z0-9.-]+[a-z])\b",
    "accents": r"\b(?P<query>\w*[à-öø-ÿ]\w*)\b",
    "beside": r"[^\s\w.,'\"](?P<query>[a-z]{5,})[^\s\w.,'\"]",
}
"""Where the queries of each kind are taken from."""
_BEFORE = """
SELECT id FROM issue WHERE setweight(to_tsvector('english', title), 'A')
    || setweight(to_tsvector('english', description), 'B') @@ websearch_to_tsquery('english', $1)
"""
_AFTER = "SELECT id FROM issue WHERE lexemes @@ $1::text::tsquery"


def evaluate(train: Path | None, data: Path) -> dict[str, Any]:
    """Return the mean recall of the queries, before and after, by kind."""
    if train is not None:
        raise ValueError("the task search is not trained. Leave TRAIN out")
    rows = read_rows(data, "title", "description")
    queries = choose_queries(rows)
    with run_server() as url:
        return {"issues": len(rows), **asyncio.run(_search(url, rows, queries))}


def choose_queries(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return the queries of each kind, the same for the same rows."""
    text = "\n".join(f"{row['title']}\n{row['description']}" for row in rows)
    chosen = {}
    for kind, pattern in KINDS.items():
        found = sorted(
            {match["query"] for match in re.finditer(pattern, text) if len(match["query"]) >= LENGTH_MIN}
        )
        chosen[kind] = Random(kind).sample(found, min(PER_KIND, len(found)))  # noqa: S311 - no secret
    chosen["accents"] = [_fold(query) for query in chosen["accents"]]
    return chosen


def _fold(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def find_relevant(query: str, texts: Iterable[str]) -> set[int]:
    """Return the positions of the texts that contain the query as a part."""
    folded = re.escape(_fold(query))
    part = re.compile(rf"(?<![a-z0-9])v?{folded}(?![a-z0-9])")
    humps = re.compile(
        rf"(?:(?<![A-Za-z0-9])|(?<=[a-z0-9])(?=[A-Z])){re.escape(query)}(?:(?![A-Za-z0-9])|(?=[A-Z][a-z]))"
    )
    return {place for place, text in enumerate(texts) if part.search(_fold(text)) or humps.search(text)}


async def _search(url: URL, rows: Sequence[Row], queries: dict[str, list[str]]) -> dict[str, Any]:
    texts = [f"{row['title'][:TITLE_MAX]}\n{row['description'][:DESCRIPTION_MAX]}" for row in rows]
    async with open_database(ApiSettings(database_url=url.render_as_string())) as database:
        place_of = {}
        for place, row in enumerate(rows):
            place_of[issue_id := new_id()] = place
            await database.execute(
                "INSERT INTO issue (id, title, description) VALUES ($1, $2, $3)",
                *(issue_id, row["title"][:TITLE_MAX] or "-", row["description"][:DESCRIPTION_MAX]),
            )
        recall: dict[str, dict[str, list[float]]] = {"before": {}, "after": {}}
        missed = []
        for kind, of_kind in queries.items():
            for query in of_kind:
                relevant = find_relevant(query, texts)
                found = {place_of[row["id"]] for row in await database.fetch(_BEFORE, query)}
                recall["before"].setdefault(kind, []).append(len(found & relevant) / len(relevant))
                words = await _compile(database, query)
                found = {place_of[row["id"]] for row in await database.fetch(_AFTER, words)}
                recall["after"].setdefault(kind, []).append(len(found & relevant) / len(relevant))
                if relevant - found:
                    missed.append(query)
    return {
        "queries": sum(map(len, queries.values())),
        **{
            f"recall_{when}": _mean(value for values in of.values() for value in values)
            for when, of in recall.items()
        },
        **{
            f"recall_{when}_by_kind": {kind: _mean(values) for kind, values in of.items()}
            for when, of in recall.items()
        },
        "missed": missed,
    }


async def _compile(database: Database, query: str) -> str:
    return await compile_terms(database, read_search(query))


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return round(sum(listed) / len(listed), 4)
