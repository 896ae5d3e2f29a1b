"""Read the records of a CSV file in any of its dialects: delimiters, line ends, blank rows, quotes."""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import islice

from api.problems import invalid
from contracts.limits import DESCRIPTION_MAX

ROW_MAX = 1024 * 1024
"""Maximum bytes of a row, as of the body of a POST."""
REREAD_MAX = 4 * ROW_MAX
"""Maximum bytes of a CSV file that are read again after rows with an unclosed quote."""
DELIMITERS = ",;\t|"
_SAMPLE = 256 * 1024
"""Bytes from which the style of quotes is recognised."""

# Excel reads and writes such a first line (https://support.microsoft.com/office/ "Import or export text files").
_SEP = re.compile(rb'"?sep=(.)"?\r?\n', re.IGNORECASE)
_BLANK_LINE = re.compile(rb'[\s,;|"]*\n')
_BACKSLASHED = re.compile(rb'\\(["\\])')

csv.field_size_limit(2 * DESCRIPTION_MAX)


@dataclass(frozen=True, slots=True)
class SheetRow:
    """A row of a sheet with its line in the file. A row with a fault has no cells."""

    line: int
    cells: list[str]
    fault: str | None = None


def read_csv(body: bytes, count_known: Callable[[Sequence[str]], int]) -> Iterator[SheetRow]:
    """Yield the rows of a CSV file in UTF-8, the header first; blank rows are omitted.

    `count_known` counts the known names of a header. The delimiter that finds the most of them is used.
    """
    body = _with_newlines(body)
    start, line, delimiters = 0, 0, DELIMITERS
    if sep := _SEP.match(body):
        start, line, delimiters = sep.end(), 1, sep[1].decode(errors="replace")
    while blank := _BLANK_LINE.match(body, start):
        line += body.count(b"\n", start, blank.end())
        start = blank.end()
    dialect = _recognise(body[start : start + _SAMPLE], delimiters, count_known)
    yield from _rows(_Lines(body, start, line, dialect), dialect)


def _with_newlines(body: bytes) -> bytes:
    r"""Return the file with `\n` at the end of each line, if some lines end with `\r` or `\r\r\n`."""
    if body.count(b"\r") == body.count(b"\r\n"):
        return body
    return body.replace(b"\r\r\n", b"\n").replace(b"\r\n", b"\n").replace(b"\r", b"\n")


@dataclass(frozen=True, slots=True)
class _Dialect:
    delimiter: str
    has_backslashes: bool = False
    r"""Whether a quote in a cell is written as `\"` instead of `""`."""


class _Lines:
    """The lines of a file. A record may span several lines; `keep_first` reduces it to its first line."""

    def __init__(self, body: bytes, start: int, line: int, dialect: _Dialect) -> None:
        self._file = BytesIO(body)
        self._file.seek(start)
        self._dialect = dialect
        self._line = line
        self.first = 0
        """Number of the record's first line."""
        self._after_first = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self._line += 1
        if not self.first:
            self.first, self._after_first = self._line, self._file.tell()
            is_long = len(line) > ROW_MAX
        else:
            is_long = self._file.tell() - self._after_first > ROW_MAX
        if is_long:
            # The reader would split a line of 20 MB without releasing the GIL.
            raise csv.Error(f"it has more than {ROW_MAX} bytes")
        if self._dialect.has_backslashes:
            line = _BACKSLASHED.sub(lambda match: b'""' if match[1] == b'"' else b"\\", line)
        return line.decode(errors="replace")

    def begin_record(self) -> None:
        self.first = 0

    @property
    def is_long(self) -> bool:
        return self._line > self.first

    def keep_first(self) -> int:
        """Go back to the record's second line; return the number of bytes to read again."""
        again = self._file.tell() - self._after_first
        self._file.seek(self._after_first)
        self._line = self.first
        return again


def _recognise(sample: bytes, delimiters: str, count_known: Callable[[Sequence[str]], int]) -> _Dialect:
    def rank(delimiter: str) -> tuple[int, int]:
        header = next(_raw_rows(sample, _Dialect(delimiter)), SheetRow(0, []))
        return count_known(header.cells), len(header.cells)

    delimiter = max(delimiters, key=rank)
    plain, escaped = _Dialect(delimiter), _Dialect(delimiter, has_backslashes=True)
    if b'\\"' in sample and _count_faults(sample, escaped) < _count_faults(sample, plain):
        return escaped
    return plain


def _raw_rows(body: bytes, dialect: _Dialect) -> Iterator[SheetRow]:
    lines = _Lines(body, 0, 0, dialect)
    return _rows(lines, dialect)


def _count_faults(sample: bytes, dialect: _Dialect) -> int:
    rows = list(islice(_raw_rows(sample, dialect), 200))
    width = len(rows[0].cells) if rows else 0
    return sum(row.fault is not None or len(row.cells) != width for row in rows)


def _rows(lines: _Lines, dialect: _Dialect) -> Iterator[SheetRow]:
    records = csv.reader(lines, strict=True, delimiter=dialect.delimiter)
    again = width = 0
    while (row := _next_row(lines, records)) is not None:
        if lines.is_long and width and not row.fault and not _fits(row.cells, width):
            row = SheetRow(row.line, [], explain_width(row.cells, width))
        if row.fault and lines.is_long:
            # An unclosed quote: the following lines are still rows.
            again += lines.keep_first()
            if again > REREAD_MAX:
                detail = "Too many quotes in the file are not closed. Close them."
                raise invalid(("body", lines.first), "csv", detail)
        if row.fault or not _is_blank(row.cells):
            width = width or len(row.cells)
            yield row


def explain_width(cells: Sequence[str], width: int) -> str:
    """Return the fault of a row whose cells do not fit the header."""
    return f"The row has {len(cells)} cells. Use {width}, as in the header."


def _fits(cells: Sequence[str], width: int) -> bool:
    return len(cells) == width or (len(cells) > width and _is_blank(cells[width:]))


def _is_blank(cells: Sequence[str]) -> bool:
    return not any(cell and not cell.isspace() for cell in cells)


def _next_row(lines: _Lines, records: Iterator[list[str]]) -> SheetRow | None:
    lines.begin_record()
    try:
        cells = next(records, None)
    except csv.Error as error:
        return SheetRow(lines.first, [], f"The row is not valid CSV: {error}.")
    return None if cells is None else SheetRow(lines.first, cells)
