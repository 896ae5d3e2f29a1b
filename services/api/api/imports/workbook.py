"""Read the rows of an Excel workbook in a process of its own, because it may need much memory and time."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from fastapi import HTTPException

from api.imports.sheets import ROW_MAX, SheetRow
from api.problems import invalid
from contracts.validation import format_value

_PROGRAM = Path(__file__).with_name("workbook_process.py")
_LINE_MAX = 8 * ROW_MAX
_NO_SHEET = 3
_TOO_LARGE = 4
_INFINITE = "A number of the row is too large. Write it as text."


def read_workbook(body: bytes, sheet: str | None) -> Iterator[SheetRow]:
    """Yield the rows of a sheet, by default of the first; blank rows are omitted.

    Raise a 422 error if the workbook cannot be read or has no such sheet.
    """
    command = [sys.executable, "-I", str(_PROGRAM), *([] if sheet is None else [sheet])]
    process = subprocess.Popen(  # noqa: S603 - the name of a sheet is only compared
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        _send(process.stdin, body)
        lines = _lines(process.stdout)
        _, sheets = next(lines, (None, []))
        for number, cells in lines:
            yield SheetRow(number, [], _INFINITE) if cells is None else SheetRow(number, cells)
        if (code := process.wait()) == _NO_SHEET:
            names = ", ".join(map(format_value, sheets[:20]))
            raise invalid(("query", "sheet"), "sheet", f"{format_value(sheet)} is not a sheet. Use {names}.")
        if code == _TOO_LARGE or code < 0:  # Rust aborts the process if memory is missing
            detail = "The workbook is too large. Delete its blank rows and columns, or save it as CSV."
            raise HTTPException(422, detail)
        if code:
            raise HTTPException(422, "The workbook is damaged or password-protected. Save it as CSV.")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _send(pipe: IO[bytes], body: bytes) -> None:
    try:
        with pipe:
            pipe.write(body)
    except BrokenPipeError:
        pass  # the exit code has the reason


def _lines(pipe: IO[bytes]) -> Iterator[Any]:
    while line := pipe.readline(_LINE_MAX):
        if not line.endswith(b"\n"):
            raise HTTPException(413, f"A row of the workbook has more than {_LINE_MAX} bytes. Shorten it.")
        yield json.loads(line)
