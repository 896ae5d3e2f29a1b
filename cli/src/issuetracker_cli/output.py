"""Print command output: tables for people, JSON for programs."""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print the JSON response of the API.")]

PIPE_WIDTH = 10_000
"""Width of a table in characters if the output is not a terminal, so that each row stays on one line."""


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters of terminals, and those that change the direction of the text."""


def strip_control(text: str) -> str:
    """Return text without terminal control characters, because issues contain untrusted text."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def print_line(text: str) -> None:
    """Print one line of untrusted text."""
    typer.echo(strip_control(text))


def print_warning(text: str) -> None:
    """Print one line of untrusted text on standard error."""
    typer.echo(strip_control(text), err=True)


def print_json(response: Any) -> None:
    """Print a JSON response of the API."""
    typer.echo(json.dumps(response, indent=2))


def make_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> "Table":
    """Return a table with a header and each row on one line."""
    from rich.table import Table  # noqa: PLC0415 - as httpx in client.py

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(strip_control, row))
    for column in table.columns:
        column.no_wrap, column.overflow = True, "ignore"
    return table


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table with a header and each row on one line."""
    from rich.console import Console  # noqa: PLC0415 - as httpx in client.py

    # Names may contain rich's markup, which must stay text.
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, markup=False, highlight=False)
    console.print(make_table(columns, rows), crop=False)


def format_time(timestamp: str | None) -> str:
    """Return an API timestamp to the second, in UTC, or a dash if it is null."""
    return "-" if timestamp is None else timestamp[:19]
