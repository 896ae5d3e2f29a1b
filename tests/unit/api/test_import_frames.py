"""Import files are split into rows, even if some rows are malformed."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import HTTPException
from hypothesis import given, settings
from hypothesis import strategies as st

from api.imports.frames import Frame, Reading, open_file
from contracts.states import ImportFormat

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=20)


def frames(file_format: ImportFormat, body: bytes) -> Iterator[Frame]:
    return open_file(body, Reading(file_format)).rows


def rows_of(file_format: ImportFormat, body: bytes) -> list[Any]:
    """Return the parsed rows, or the line number of each broken row."""
    return [frame.line if frame.body is None else json.loads(frame.body) for frame in frames(file_format, body)]


@settings(max_examples=50)
@given(st.lists(st.dictionaries(TEXT, st.one_of(TEXT, st.integers(), st.none(), st.lists(TEXT)))))
def test_json_rows_when_framed_equal_input(rows: list[dict[str, Any]]) -> None:
    input_lines = "".join(f"{json.dumps(row)}\n" for row in rows).encode()

    assert rows_of(ImportFormat.NDJSON, input_lines) == rows
    for indent in (None, 2):
        assert rows_of(ImportFormat.JSON, json.dumps(rows, indent=indent).encode()) == rows


@settings(max_examples=50)
@given(st.lists(st.tuples(TEXT, TEXT, TEXT)), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_csv_rows_when_framed_equal_input(rows: list[tuple[str, str, str]], ending: str, has_bom: bool) -> None:
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator=ending)
    writer.writerow(("external_id", "title", "description"))
    writer.writerows(rows)

    body = written.getvalue().encode("utf-8-sig" if has_bom else "utf-8")

    expected = [
        {name: cell for name, cell in zip(("external_id", "title"), row[:2], strict=True) if cell.strip()}
        | {"description": row[2]}
        for row in rows
        if any(cell.strip() for cell in row)
    ]
    assert rows_of(ImportFormat.CSV, body) == expected


@settings(max_examples=50)
@given(st.lists(st.sampled_from(['1,t,"d', '2,"t', '3,t,d"', '"4,t,d', "5,t", '6,"t"x,d', "7,t,d", '8,"a""b",d'])))
def test_csv_rows_after_broken_row_are_found(input_lines: list[str]) -> None:
    body = "\n".join(["external_id,title,description", *input_lines]).encode()

    found = list(frames(ImportFormat.CSV, body))

    sound = [number for number, line in enumerate(input_lines, start=2) if line == "7,t,d"]
    covered = {frame.line for frame in found if frame.body is not None and b'"7"' in frame.body}
    assert covered | _lines_inside_cells(found) >= set(sound)


def _lines_inside_cells(found: list[Frame]) -> set[int]:
    """Return the numbers of lines inside a quoted cell, which is valid CSV."""
    lines: set[int] = set()
    for frame in found:
        if frame.body is not None and frame.line is not None:
            newlines = sum(cell.count("\n") for cell in json.loads(frame.body).values())
            lines |= set(range(frame.line, frame.line + newlines + 1))
    return lines


def test_json_row_with_long_number_is_returned_as_row() -> None:
    digits = b"9" * 10_000

    assert [frame.body for frame in frames(ImportFormat.JSON, b"[" + digits + b", 1]")] == [digits, b"1"]


@pytest.mark.parametrize("item", [rb'{"title": "\ud83d"}', b'{"a": 1e400, "b": 1.10, "a": 2}', b"NaN"])
def test_array_item_that_json_libraries_change_is_yielded_unchanged(item: bytes) -> None:
    assert [frame.body for frame in frames(ImportFormat.JSON, b"[1, " + item + b" ]")] == [b"1", item]


def test_array_nested_200000_deep_is_rejected_within_bounded_memory() -> None:
    with pytest.raises(HTTPException, match="nested too deeply"):
        list(frames(ImportFormat.JSON, b"[" * 200_000))


def test_csv_with_nested_quotes_is_rejected_in_bounded_time() -> None:
    """Each line opens a quoted cell that the next line closes."""
    body = b"external_id,title\n" + b'x",y"z,"w\n' * 150_000

    with pytest.raises(Exception, match="quotes"):
        list(frames(ImportFormat.CSV, body))


@pytest.mark.parametrize("item", ['"' + "x" * 70_000 + '"', "1" * 65_536, '["' + "\\n" * 40_000 + '", true]'])
def test_array_item_longer_than_first_window_is_yielded(item: str) -> None:
    assert [frame.body for frame in frames(ImportFormat.JSON, f"[0, {item}, 1]".encode())] == [
        b"0",
        item.encode(),
        b"1",
    ]


def test_fault_in_long_array_is_reported_with_its_place() -> None:
    body = "[\n" + ",\n".join(['{"a": 1}', '{"a" 2}', '"' + "x" * 200_000 + '"']) + "]"

    with pytest.raises(HTTPException, match="Expecting ':' delimiter at line 3, column 6"):
        list(frames(ImportFormat.JSON, body.encode()))
