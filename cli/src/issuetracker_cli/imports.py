"""`issuetracker issues import`."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from contracts.states import ImportFormat
from issuetracker_cli.client import BAD_INPUT, FAILED, call, fail
from issuetracker_cli.output import AsJson, print_json, print_line

POLL_S = 0.3

_COUNTS = ("created", "updated", "unchanged", "skipped", "failed")


_MEDIA_TYPES = {
    ImportFormat.NDJSON: "application/x-ndjson",
    ImportFormat.CSV: "text/csv",
    ImportFormat.GITHUB: "application/json",
}
_SUFFIXES = {
    ".ndjson": ImportFormat.NDJSON,
    ".jsonl": ImportFormat.NDJSON,
    ".csv": ImportFormat.CSV,
    ".json": ImportFormat.GITHUB,
}


def import_file(  # noqa: PLR0913 - each is an option
    file: Annotated[
        Path, typer.Argument(help="NDJSON, CSV, or GitHub's export; - reads standard input.", allow_dash=True)
    ],
    *,
    file_format: Annotated[
        ImportFormat | None, typer.Option("--format", help="Where the file's name does not end in it.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="The system that rows come from which name none.")] = None,
    project: Annotated[str | None, typer.Option(help="Of new issues whose row names none.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing, print what would change.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import issues from a file, each row for itself; safe to repeat.

    Exit code 1: rows have failed, all others are imported. It goes on by itself when this command is ended.
    """
    known = file_format or _SUFFIXES.get(file.suffix.lower())
    if known is None:
        fail(f"--format: the name {file} does not say whether it is {', '.join(ImportFormat)}", BAD_INPUT)
    asked = {"dry_run": "true" if dry_run else None, "source": source, "project": project}
    accepted = call(
        "POST",
        "/imports",
        content=_read(file),
        headers={"Content-Type": _MEDIA_TYPES[known]},
        params={name: value for name, value in asked.items() if value is not None},
    )
    operation = _follow(accepted)
    if as_json:
        print_json(operation)
    else:
        _print(operation)
    if operation["failed"]:
        raise typer.Exit(FAILED)


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        fail(f"{file}: {error.strerror}", BAD_INPUT)


def _follow(operation: dict[str, Any]) -> dict[str, Any]:
    """Return the operation once it is over; show how far it is where somebody looks."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("rows"))
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("dry run" if operation["dry_run"] else "import", total=operation["total"])
        while operation["state"] != "finished":
            time.sleep(POLL_S)
            operation = call("GET", f"/operations/{operation['id']}")
            progress.update(bar, completed=operation["done"])
    return operation


def _print(operation: dict[str, Any]) -> None:
    for error in operation["errors"]:
        line = "" if error["line"] is None else f" (line {error['line']})"
        print_line(f"row {error['row']}{line}: {error['pointer']}: {error['detail']}")
    if operation["errors_omitted"]:
        print_line(f"and {operation['errors_omitted']} errors more")
    told = ", ".join(f"{operation[name]} {name}" for name in _COUNTS)
    prefix = "dry run, nothing is changed: " if operation["dry_run"] else ""
    print_line(f"{prefix}{told}; {operation['total']} rows")
