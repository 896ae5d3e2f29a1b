"""How commands print: a table for people, JSON for programs."""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON.")]

PIPE_WIDTH = 10_000
"""Characters of a line that no terminal breaks: what reads it wants each row on one."""


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def strip_control(text: str) -> str:
    """Return text without what a terminal would obey: issues are written by strangers."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def print_line(text: str) -> None:
    """Print text that may hold what others wrote."""
    typer.echo(strip_control(text))


def print_json(answer: Any) -> None:
    """Print an answer of the API."""
    typer.echo(json.dumps(answer, indent=2))


def make_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return rows under their columns' names, each row on one line."""
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(strip_control, row))
    for column in table.columns:
        column.no_wrap, column.overflow = True, "ignore"
    return table


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print such rows."""
    # Markup in a name is text here.
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, markup=False, highlight=False)
    console.print(make_table(columns, rows), crop=False)


def format_time(timestamp: str | None) -> str:
    """Return a time of the API, to the second, in UTC; a dash where there is none."""
    return "-" if timestamp is None else timestamp[:19]
