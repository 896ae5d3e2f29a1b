"""`issuetracker issues import`."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

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
        Path, typer.Argument(help="NDJSON or CSV file, or GitHub export; - reads standard input.", allow_dash=True)
    ],
    *,
    file_format: Annotated[
        ImportFormat | None, typer.Option("--format", help="Format of the file. [default: by file name extension]")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Source system of rows that have none, such as jira:SHOP.")
    ] = None,
    project: Annotated[str | None, typer.Option(help="Project of new issues whose row has none.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the changes without making them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import issues from a file. Safe to repeat.

    Rows are imported independently. Exit code 1: some rows failed. The import continues if you stop this command.
    """
    used_format = file_format or _SUFFIXES.get(file.suffix.lower())
    if used_format is None:
        fail(f"The format of {file} is unknown. Set --format to one of {', '.join(ImportFormat)}.", BAD_INPUT)
    options = {"dry_run": "true" if dry_run else None, "source": source, "project": project}
    accepted = call(
        "POST",
        "/imports",
        content=_read(file),
        headers={"Content-Type": _MEDIA_TYPES[used_format]},
        params={name: value for name, value in options.items() if value is not None},
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
    """Return the finished operation; show a progress bar on a terminal."""
    from rich.console import Console  # noqa: PLC0415 - as httpx in client.py
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

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
        field = error["pointer"].removeprefix("#").removeprefix("/")
        print_line(": ".join(filter(None, (f"row {error['row']}{line}", field, error["detail"]))))
    if operation["errors_omitted"]:
        print_line(f"{operation['errors_omitted']} more errors are not listed")
    counts = ", ".join(f"{operation[name]} {name}" for name in _COUNTS)
    prefix = "dry run, no changes made: " if operation["dry_run"] else ""
    print_line(f"{prefix}{counts}; {operation['total']} rows")
