"""Split a file into rows of JSON, without validating their content."""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from json import JSONDecodeError, JSONDecoder

from fastapi import HTTPException

from api.imports.rows import COLUMNS, REQUIRED_COLUMNS
from api.problems import describe_encoding_error, invalid
from contracts.limits import DESCRIPTION_MAX
from contracts.states import ImportFormat
from contracts.validation import format_value

ROW_MAX = 1024 * 1024
"""Maximum bytes of a row, as of the body of a POST."""
REREAD_MAX = 4 * ROW_MAX
"""Maximum bytes of a CSV file that are read again after rows with an unclosed quote."""

csv.field_size_limit(2 * DESCRIPTION_MAX)

_BOM = b"\xef\xbb\xbf"
_WINDOW = 64 * 1024
"""Characters that are decoded first; few items have more."""
_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Frame:
    """A raw row. `line` is its first line in a file with lines; `fault` is the reason why it cannot be read."""

    line: int | None
    body: bytes | None
    fault: str | None = None


def frames(file_format: ImportFormat, body: bytes) -> Iterator[Frame]:
    """Yield a file's rows in order.

    Raise an HTTP error, at the end at the latest, if the file does not have this format.
    """
    return _READERS[file_format](body.removeprefix(_BOM))


def _ndjson(body: bytes) -> Iterator[Frame]:
    for number, line in enumerate(BytesIO(body), start=1):
        if row := line.strip():
            yield _bounded(number, row)


def _bounded(line: int | None, row: bytes) -> Frame:
    if len(row) > ROW_MAX:
        return Frame(line, None, f"The row is too long. Use at most {ROW_MAX} bytes.")
    return Frame(line, row)


def _array(body: bytes) -> Iterator[Frame]:
    """Yield the items of a JSON array as they are in the file, decoded one at a time to bound the memory.

    ijson 3.6 cannot replace this: 20 KB of `[` take 1 GB there, one number of 20 digits or 1e400 fails the file,
    a lone surrogate becomes `?`, errors name no line, and the items are no longer the file's bytes.
    """
    try:
        yield from _items(body.decode())
    except UnicodeDecodeError as error:
        raise HTTPException(400, describe_encoding_error(error)) from None
    except RecursionError:
        raise HTTPException(400, "The body is nested too deeply.") from None
    except JSONDecodeError as error:
        detail = f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        raise HTTPException(400, detail) from None


def _items(text: str) -> Iterator[Frame]:
    decoder = JSONDecoder(parse_int=float)  # accepts any number of digits; only the end of an item matters
    position = _after_space(text, 0)
    if text[position : position + 1] != "[":
        _end_of_item(decoder, text, position)  # raises an error if the body is not JSON
        raise invalid(("body",), "list_type", "The body is not a list of issues. Use an export from GitHub.")
    position = _after_space(text, position + 1)
    delimiter = text[position : position + 1]
    while delimiter != "]":
        end = _end_of_item(decoder, text, position)
        yield _bounded(None, text[position:end].encode())
        position = _after_space(text, end)
        delimiter = text[position : position + 1]
        if delimiter == ",":
            position = _after_space(text, position + 1)
        elif delimiter != "]":
            raise JSONDecodeError("Expecting ',' or ']'", text, position)
    if (rest := _after_space(text, position + 1)) != len(text):
        raise JSONDecodeError("Extra data", text, rest)


def _end_of_item(decoder: JSONDecoder, text: str, start: int) -> int:
    """Return the end of the item at `start`.

    The decoder does not release the GIL, so it gets only as much text as an item may have. A file with a longer
    item is rejected, because the end of the item is unknown.
    """
    for size in (_WINDOW, ROW_MAX):
        window = text[start : start + size]
        is_cut = start + size < len(text)
        try:
            _, length = decoder.raw_decode(window)
        except JSONDecodeError as error:
            if not (is_cut and _is_at_cut(error, size)):
                raise JSONDecodeError(error.msg, text, start + error.pos) from None
        else:
            if length < size or not is_cut:
                return start + length
    line = text.count("\n", 0, start) + 1
    raise HTTPException(413, f"The item at line {line} has more than {ROW_MAX} characters. Remove it.")


def _is_at_cut(error: JSONDecodeError, size: int) -> bool:
    """Return whether the end of the window may have caused the error: in a string, a literal or an escape."""
    return error.msg.startswith("Unterminated string") or error.pos > size - 16


def _after_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in _SPACE:
        position += 1
    return position


class _Lines:
    """The lines of a file. A record may span several lines; `keep_first` reduces it to its first line."""

    def __init__(self, body: bytes) -> None:
        self._file = BytesIO(body)
        self._line = 0
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
        # Invalid UTF-8 becomes a surrogate, which every field of an issue rejects.
        return line.decode(errors="surrogateescape")

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


def _csv(body: bytes) -> Iterator[Frame]:
    lines = _Lines(body)
    records = csv.reader(lines, strict=True)
    header = _header(records)
    again = 0
    while (record := _record(lines, records, header)) is not None:
        if record.fault and lines.is_long:
            # An unclosed quote: the following lines are still rows.
            again += lines.keep_first()
            if again > REREAD_MAX:
                raise invalid(
                    ("body", lines.first), "csv", "Too many quotes in the file are not closed. Close them."
                )
        if record.fault or record.body:
            yield record


def _record(lines: _Lines, records: Iterator[list[str]], header: list[str]) -> Frame | None:
    """Return the next record, or None at the end; an empty record has neither body nor fault."""
    lines.begin_record()
    try:
        cells = next(records, None)
    except csv.Error as error:
        return Frame(lines.first, None, f"The row is not valid CSV: {error}.")
    if not cells:
        return None if cells is None else Frame(lines.first, None)
    if len(cells) != len(header):
        fault = f"The row has {len(cells)} cells. Use {len(header)}, as in the header."
        return Frame(lines.first, None, fault)
    return _bounded(lines.first, _as_json(header, cells))


def _header(records: Iterator[list[str]]) -> list[str]:
    try:
        header = [cell.strip().lower() for cell in next(records, [])]
    except csv.Error as error:
        raise invalid(("body", 0), "csv", f"The header is not valid CSV: {error}.") from None
    if unknown := [name for name in header if name not in COLUMNS]:
        known = ", ".join(COLUMNS)
        detail = f"{format_value(unknown[0])} is not a column. Use {known}."
        raise invalid(("body", 0), "csv_header", detail)
    if missing := [name for name in REQUIRED_COLUMNS if name not in header]:
        raise invalid(("body", 0), "csv_header", f"The header has no column {missing[0]}. Add it.")
    if len(set(header)) != len(header):
        raise invalid(("body", 0), "csv_header", "The header repeats a column. Use each column once.")
    return header


def _as_json(header: list[str], cells: list[str]) -> bytes:
    """Return the record as a row of NDJSON. Empty cells are left out, except for the description."""
    named = zip(header, cells, strict=True)
    return json.dumps({name: cell for name, cell in named if cell or name == "description"}).encode()


_READERS: dict[ImportFormat, Callable[[bytes], Iterator[Frame]]] = {
    ImportFormat.NDJSON: _ndjson,
    ImportFormat.CSV: _csv,
    ImportFormat.GITHUB: _array,
}
