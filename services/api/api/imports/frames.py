"""Split a file into rows of JSON, without validating their content."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from itertools import chain, islice

from api.imports.arrays import is_lines, read_array
from api.imports.columns import Columns, assign_columns, count_known
from api.imports.containers import recognise
from api.imports.encodings import decode
from api.imports.sheets import ROW_MAX, SheetRow, explain_width, read_csv
from api.imports.workbook import read_workbook
from api.issues.schemas import EXTERNAL_DETAILS
from contracts.states import ImportFormat
from contracts.validation import format_value

_CLEARABLE = frozenset({"description", *EXTERNAL_DETAILS})
"""Fields that a blank cell clears."""
_SAMPLE_ROWS = 20
"""Rows from which the samples of a column are taken."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A raw row. `line` is its first line in a file with lines; `fault` is the reason why it cannot be read."""

    line: int | None
    body: bytes | None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a request states about its file."""

    format: ImportFormat | None = None
    """None: recognised by the content."""
    charset: str | None = None
    sheet: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    """Fields by column; an empty field ignores the column."""


@dataclass(frozen=True, slots=True)
class ImportFile:
    """A file whose format was recognised.

    `rows` raises an HTTP error, at the end at the latest, if the file is malformed.
    """

    format: ImportFormat
    encoding: str | None
    """The encoding of a text file."""
    export: str | None
    """The name of the known export that a sheet is."""
    rows: Iterator[Frame]


def open_file(body: bytes, reading: Reading) -> ImportFile:
    """Recognise the format and encoding of an unpacked file, and return its rows; raise an HTTP error."""
    file_format = recognise(body, reading.format)
    if file_format is ImportFormat.XLSX:
        return _open_sheet(file_format, None, read_workbook(body, reading.sheet), reading)
    decoded = decode(body, reading.charset)
    if file_format is ImportFormat.CSV:
        return _open_sheet(file_format, decoded.encoding, read_csv(decoded.body, count_known), reading)
    if file_format is ImportFormat.JSON and not is_lines(decoded.body):
        rows = (_bounded(None, item) for item in read_array(decoded.body))
        return ImportFile(file_format, decoded.encoding, None, rows)
    return ImportFile(ImportFormat.NDJSON, decoded.encoding, None, _ndjson(decoded.body))


def _ndjson(body: bytes) -> Iterator[Frame]:
    if b"\r" in body:
        body = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for number, line in enumerate(BytesIO(body), start=1):
        if row := line.strip():
            yield _bounded(number, row)


def _bounded(line: int | None, row: bytes) -> Frame:
    if len(row) > ROW_MAX:
        return Frame(line, None, f"The row is too long. Use at most {ROW_MAX} bytes.")
    return Frame(line, row)


def _open_sheet(
    file_format: ImportFormat, encoding: str | None, rows: Iterator[SheetRow], reading: Reading
) -> ImportFile:
    first = list(islice(rows, 1 + _SAMPLE_ROWS))
    header = first[0] if first else SheetRow(1, [])
    samples = [row.cells for row in first[1:]]
    columns = assign_columns(header.cells, reading.columns, header.fault, samples)
    frames = (_frame(row, columns) for row in chain(first[1:], rows))
    return ImportFile(file_format, encoding, columns.export, frames)


def _frame(row: SheetRow, columns: Columns) -> Frame:
    if row.fault is not None:
        return Frame(row.line, None, row.fault)
    width = len(columns.fields)
    named = dict[str, str]()
    for number, cell in enumerate(row.cells):
        name = columns.names[number] if number < width else ""
        if cell.strip() and not name:
            return Frame(row.line, None, _explain_unnamed(row, number, width))
        found = columns.fields[number] if number < width else None
        if found and (cell.strip() or found in _CLEARABLE) and not named.get(found):
            named[found] = cell
    if len(row.cells) < width and _has_missing_cells(row, columns):
        return Frame(row.line, None, explain_width(row.cells, width))
    return _bounded(row.line, json.dumps(named).encode())


def _explain_unnamed(row: SheetRow, number: int, width: int) -> str:
    if number >= width:
        return explain_width(row.cells, width)
    return (
        f"Column {number + 1} has no name in the header, but the row has {format_value(row.cells[number])} there."
    )


def _has_missing_cells(row: SheetRow, columns: Columns) -> bool:
    """Return whether a row ends before the last named column."""
    return any(columns.names[len(row.cells) :])
