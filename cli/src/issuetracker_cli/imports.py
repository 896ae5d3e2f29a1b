"""`issuetracker issues import`."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from contracts.states import ImportFormat
from issuetracker_cli.client import BAD_INPUT, FAILED, call, fail
from issuetracker_cli.output import AsJson, print_json, print_line

POLL_S = 0.3
INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended, as of shells."""

_COUNTS = ("created", "updated", "unchanged", "skipped", "failed")
_ENDED = ("finished", "cancelled")


_ANY = "application/octet-stream"
_MEDIA_TYPES = {
    ImportFormat.NDJSON: "application/x-ndjson",
    ImportFormat.CSV: "text/csv",
    ImportFormat.JSON: "application/json",
    ImportFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_SUFFIXES = {
    ".ndjson": ImportFormat.NDJSON,
    ".jsonl": ImportFormat.NDJSON,
    ".csv": ImportFormat.CSV,
    ".tsv": ImportFormat.CSV,
    ".txt": ImportFormat.CSV,
    ".json": ImportFormat.JSON,
    ".xlsx": ImportFormat.XLSX,
}


def import_file(  # noqa: PLR0913 - each is an option
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV, Excel, NDJSON or JSON file, also with .gz; - reads standard input.", allow_dash=True
        ),
    ],
    *,
    file_format: Annotated[
        ImportFormat | None, typer.Option("--format", help="Format of the file. [default: by file name extension]")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Source system of rows that have none, such as jira:SHOP.")
    ] = None,
    project: Annotated[str | None, typer.Option(help="Project of new issues whose row has none.")] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=FIELD", help="Field of a column; COLUMN= ignores it. Repeatable."),
    ] = None,
    values: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help='JSON file of names: {"status": {"Waiting": "open"}, "priority": {}}.'),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of a text file, such as windows-1252. [default: recognised]")
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="Sheet of a workbook. [default: the first]")] = None,
    date_order: Annotated[
        str | None, typer.Option(metavar="dmy|mdy", help="Order of day and month in dates such as 03/04/2026.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the changes without making them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import issues from a file. Safe to repeat.

    Rows are imported independently. Exit code 1: some rows failed, or the import was cancelled. Ctrl-C asks
    whether to cancel the import; otherwise it continues on the server.
    """
    options = {
        "dry_run": "true" if dry_run else None,
        "source": source,
        "project": project,
        "sheet": sheet,
        "date_order": date_order,
        "map": columns,
        "value": _read_values(values),
    }
    media_type = _media_type(file, file_format, encoding)
    accepted = call(
        "POST",
        "/imports",
        content=_read(file),
        headers={"Content-Type": media_type},
        params={name: value for name, value in options.items() if value is not None},
    )
    operation = _follow(accepted)
    if as_json:
        print_json(operation)
    else:
        _print(operation)
    if operation["failed"] or operation["state"] == "cancelled":
        raise typer.Exit(FAILED)


def _media_type(file: Path, file_format: ImportFormat | None, encoding: str | None) -> str:
    suffixes = [suffix.lower() for suffix in file.suffixes if suffix.lower() != ".gz"]
    used = file_format or (_SUFFIXES.get(suffixes[-1]) if suffixes else None)
    if used is None and suffixes:
        fail(f"The format of {file} is unknown. Set --format to one of {', '.join(ImportFormat)}.", BAD_INPUT)
    media_type = _MEDIA_TYPES[used] if used else _ANY
    if encoding is None:
        return media_type
    if not encoding.isascii() or not encoding.replace("-", "").replace("_", "").isalnum():
        fail(f'--encoding: "{encoding}" is not valid. Use a name such as utf-8 or windows-1252.', BAD_INPUT)
    return f"{media_type}; charset={encoding}"


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        fail(f"{file}: {error.strerror}", BAD_INPUT)


def _read_values(file: Path | None) -> list[str] | None:
    """Return the statuses and priorities of a mapping file as parameters of the request."""
    if file is None:
        return None
    try:
        document = json.loads(_read(file))
        return [f"{field}:{name}={value}" for field, names in document.items() for name, value in names.items()]
    except (ValueError, AttributeError):
        fail(f'{file} is not valid. Use JSON such as {{"status": {{"Waiting": "open"}}}}.', BAD_INPUT)


def _follow(operation: dict[str, Any]) -> dict[str, Any]:
    """Return the ended operation; show a progress bar on a terminal."""
    from rich.console import Console  # noqa: PLC0415 - as httpx in client.py
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        name = "dry run" if operation["dry_run"] else "import"
        bar = progress.add_task(name, total=operation["total"], rate="rows")
        try:
            while operation["state"] not in _ENDED:
                time.sleep(POLL_S)
                operation = call("GET", f"/operations/{operation['id']}")
                progress.update(bar, completed=operation["done"], rate=_describe_rate(operation))
        except KeyboardInterrupt:
            progress.stop()
            _interrupt(operation["id"])
    return operation


def _describe_rate(operation: dict[str, Any]) -> str:
    rate, remaining = operation["rows_per_s"], operation["remaining_s"]
    if rate is None:
        return "rows"
    minutes, seconds = divmod(round(remaining), 60)
    return f"rows, {rate:,.0f}/s, {minutes}:{seconds:02} left"


def _interrupt(operation_id: str) -> NoReturn:
    """Ask once whether to cancel the import; a second Ctrl-C, or no terminal, lets it continue."""
    typer.echo(f"\nissuetracker: import {operation_id} continues on the server.", err=True)
    try:
        cancels = sys.stdin.isatty() and typer.confirm("Cancel it?", default=False, err=True)
    except (KeyboardInterrupt, typer.Abort):
        cancels = False
    if cancels:
        operation = call("DELETE", f"/operations/{operation_id}")
        _print(operation)
    raise typer.Exit(INTERRUPTED)


def _print(operation: dict[str, Any]) -> None:
    for error in operation["errors"]:
        line = "" if error["line"] is None else f" (line {error['line']})"
        field = error["pointer"].removeprefix("#").removeprefix("/")
        print_line(": ".join(filter(None, (f"row {error['row']}{line}", field, error["detail"]))))
    if operation["errors_omitted"]:
        print_line(f"{operation['errors_omitted']} more errors are not listed")
    repeated = [problem for problem in operation["problems"] if problem["rows"] > 1]
    for problem in repeated:
        field = problem["pointer"].removeprefix("#").removeprefix("/")
        print_line(": ".join(filter(None, (f"{problem['rows']} rows", field, problem["detail"]))))
    counts = ", ".join(f"{operation[name]} {name}" for name in _COUNTS)
    prefix = "dry run, no changes made: " if operation["dry_run"] else ""
    if operation["state"] == "cancelled":
        prefix = "cancelled: "
    print_line(f"{prefix}{counts}; {operation['total']} rows")
