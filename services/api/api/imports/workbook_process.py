"""Write the rows of an Excel workbook as JSON: a program, so that its memory, time and crashes stay apart.

Usage: `python -I workbook_process.py [SHEET] <file.xlsx`. The first line of the output has the sheet's name
and the names of all sheets; each other line has a row: its number in the sheet and its cells as text, or null if
a number is infinite. Blank rows are omitted.
Exit code 2: the workbook cannot be read, 3: the sheet does not exist, 4: the sheet is too large.
"""

import json
import math
import os
import resource
import sys
from datetime import date, datetime, time, timedelta
from io import BytesIO

from python_calamine import CalamineError, CalamineWorkbook

MEMORY_MAX = 192 * 1024 * 1024
"""Bytes of address space. A container of the API has 512 MB."""
CELLS_MAX = 4_000_000
"""Cells between the first and the last value of a sheet. Each one needs 32 bytes, even if it is blank."""
EXACT_MAX = 2**53
"""Maximum of whole numbers that are exact in a workbook."""
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
        if rows.width * rows.height > CELLS_MAX:
            return 4
        _write([chosen, names])
        first = 1 + (rows.start[0] if rows.start else 0)
        for number, cells in enumerate(rows.iter_rows(), start=first):
            if not all(isinstance(cell, str) and (not cell or cell.isspace()) for cell in cells):
                is_infinite = any(isinstance(cell, float) and not math.isfinite(cell) for cell in cells)
                _write([number, None if is_infinite else [format_cell(cell) for cell in cells]])
    except MemoryError:
        return 4
    except (CalamineError, IndexError):
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
            return str(int(cell)) if cell.is_integer() and abs(cell) <= EXACT_MAX else repr(cell)
        case datetime() | date() | time():
            return cell.isoformat()
        case timedelta():
            return str(cell)
        case _:
            return str(cell)


if __name__ == "__main__":
    sys.exit(main())
