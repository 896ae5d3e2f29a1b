"""Write the rows of an Excel workbook as JSON: a program, so that its memory, time and crashes stay apart.

Usage: `python -I workbook_process.py [SHEET] <file.xlsx`. The first line of the output has the sheet's name
and the names of all sheets; each other line has a row: its number in the sheet and its cells as text.
Exit code 2: the workbook cannot be read, 3: the sheet does not exist.
"""

import json
import os
import resource
import sys
from datetime import date, datetime, time, timedelta
from io import BytesIO

from python_calamine import CalamineError, CalamineWorkbook

MEMORY_MAX = 512 * 1024 * 1024
"""Bytes of address space."""
CPU_MAX_S = 60


def main() -> int:
    """Write the rows of the workbook that is the standard input."""
    sheet = sys.argv[1] if len(sys.argv) > 1 else None
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_MAX_S, CPU_MAX_S))
    try:
        workbook = CalamineWorkbook.from_filelike(BytesIO(sys.stdin.buffer.read()))
        names = workbook.sheet_names
        if sheet is not None and sheet not in names:
            _write([None, names])
            return 3
        chosen = names[0] if sheet is None else sheet
        rows = workbook.get_sheet_by_name(chosen)
        _write([chosen, names])
        first = 1 + (rows.start[0] if rows.start else 0)
        for number, cells in enumerate(rows.iter_rows(), start=first):
            _write([number, [format_cell(cell) for cell in cells]])
    except (CalamineError, IndexError, MemoryError):
        return 2
    return 0


def _write(line: object) -> None:
    sys.stdout.write(f"{json.dumps(line)}\n")


def format_cell(cell: object) -> str:
    """Return the value of a cell as text: whole numbers without a point, and times in ISO 8601."""
    match cell:
        case bool():
            return str(cell).lower()
        case float():
            return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
        case datetime() | date() | time():
            return cell.isoformat()
        case timedelta():
            return str(cell)
        case _:
            return str(cell)


if __name__ == "__main__":
    sys.exit(main())
