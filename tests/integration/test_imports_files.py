"""Imports of the files that people really have: encodings, dialects of CSV, workbooks, columns and names."""

import gzip
import json
from typing import Any

import pytest

from tests.integration.test_imports import get_issue
from tests.integration.test_issues_api import assert_problem
from tests.support.database import Database
from tests.support.imports import CSV, JSON, NDJSON, import_file, ndjson, post_import, row, row_counts
from tests.support.processes import Api
from tests.support.workbooks import XLSX, workbook

HEADER = "title,external_id,source,status,priority"
SHEET = f"{HEADER}\r\nGrüße,1,qa:x,open,high\r\n"
RUSSIAN = f"{HEADER}\n" + "".join(
    f"Не работает вход в систему после обновления номер {number},{number},qa:ru,open,high\n" for number in range(3)
)


@pytest.mark.parametrize(
    ("body", "media_type", "encoding"),
    [
        (SHEET.encode(), CSV, "utf-8"),
        (SHEET.encode("utf-8-sig"), CSV, "utf-8"),
        (b"\xff\xfe" + SHEET.encode("utf-16-le"), CSV, "utf-16-le"),
        (b"\xfe\xff" + SHEET.encode("utf-16-be"), CSV, "utf-16-be"),
        (b"\xff\xfe" + SHEET.replace(",", "\t").encode("utf-16-le"), CSV, "utf-16-le"),
        (SHEET.encode("utf-16-le"), f"{CSV}; charset=utf-16le; header=present", "utf-16-le"),
        (SHEET.encode("utf-16-le"), CSV, "utf-16-le"),
        (SHEET.encode("cp1252"), f'{CSV}; charset="ISO-8859-1"', "cp1252"),
        (
            b"\xff\xfe" + ndjson([row(1, title="Grüße")]).replace(b"\n", b"\r\n").decode().encode("utf-16-le"),
            NDJSON,
            "utf-16-le",
        ),
        (
            json.dumps([row(1, title="Grüße")], ensure_ascii=False).encode("cp1252"),
            f"{JSON}; charset=windows-1252",
            "cp1252",
        ),
    ],
    ids=[
        "utf8",
        "bom",
        "utf16le",
        "utf16be",
        "unicode_text",
        "declared",
        "no_bom",
        "latin1",
        "powershell",
        "json",
    ],
)
def test_import_of_file_in_any_encoding_keeps_text(body: bytes, media_type: str, encoding: str, api: Api) -> None:
    operation = import_file(api, body, media_type)

    assert (row_counts(operation), operation["encoding"]) == ({"created": 1}, encoding), operation["errors"]
    assert get_issue(api, "Grüße")["title"] == "Grüße"


def test_import_of_undeclared_encoding_is_detected_if_certain(api: Api) -> None:
    operation = import_file(api, RUSSIAN.encode("cp1251"), CSV)

    assert (operation["encoding"], row_counts(operation)) == ("cp1251", {"created": 3})
    assert get_issue(api, "Не работает вход в систему после обновления номер 1")


@pytest.mark.parametrize(
    ("body", "media_type", "status", "message"),
    [
        (f"{HEADER},größe\n".encode("cp1252"), CSV, 422, "Line 1 is not UTF-8: its byte 44 is 0xf6"),
        (b"\xe9", CSV, 422, "Line 1 is not UTF-8: its byte 1 is 0xe9"),
        (SHEET.encode("cp1252"), CSV, 422, "Line 2 is not UTF-8: its byte 3 is 0xfc"),
        (b'{"title": "caf\xe9"}\n', NDJSON, 422, "Line 1 is not UTF-8"),
        (SHEET.encode() + b"Stra\xdfe,2,qa:x,open,low\n", CSV, 422, "Line 3 is not UTF-8: its byte 5 is 0xdf"),
        (SHEET.encode("cp1252"), f"{CSV}; charset=utf-8", 422, "Line 2 is not UTF-8"),
        (SHEET.encode(), f"{CSV}; charset=punycode", 415, '"punycode" is not supported'),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", CSV, 415, "Excel workbook"),
        (b"%PDF-1.7", CSV, 415, "PDF"),
        (b"PK\x03\x04 mimetype", CSV, 415, "ZIP archive"),
        (b"<!DOCTYPE html><html>", CSV, 415, "HTML page"),
        (SHEET.encode(), XLSX, 415, "not an Excel workbook"),
        (b"PK\x03\x04 xl/workbook.xml", XLSX, 422, "The workbook is damaged"),
        (gzip.compress(SHEET.encode(), mtime=0)[:-9], CSV, 422, "incomplete"),
        (gzip.compress(b"\n" * 25_000_000, mtime=0), CSV, 413, "unpacked file has more than"),
    ],
    ids=range(15),
)
def test_import_of_unreadable_file_is_rejected_with_its_place(
    body: bytes, media_type: str, status: int, message: str, api: Api, database: Database
) -> None:
    problem = assert_problem(post_import(api, body, media_type), status)

    assert message in str(problem["detail"])
    assert database.one("SELECT count(*) FROM operation") == 0


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r", "\r\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_import_of_csv_with_any_delimiter_and_line_end_reads_rows(delimiter: str, line_end: str, api: Api) -> None:
    text = line_end.join((HEADER, "A,1,qa:d,open,high", "B,2,qa:d,open,low", "")).replace(",", delimiter)

    assert row_counts(import_file(api, text.encode(), CSV)) == {"created": 2}


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\r\ntitle;source;external_id\r\nA;qa:k;1\r\n",
        "title,external_id,source\n\n,,\nA,1,qa:k\n , ,\n,,\n",
        "\n,,\ntitle,external_id,source\nA,1,qa:k\n",
        "title,external_id,source,\nA,1,qa:k,\n",
        "title,external_id,source\nA,1,qa:k,\n",
        ",title,,external_id,source\n,A,,1,qa:k\n",
        " Title , EXTERNAL ID,Source\nA, 1 , QA:K \n",
    ],
    ids=["sep", "blank_rows", "blank_start", "trailing_comma", "trailing_comma_rows", "blank_columns", "spaces"],
)
def test_import_of_csv_with_blank_parts_ignores_them(text: str, api: Api) -> None:
    operation = import_file(api, text.encode(), CSV)

    assert (row_counts(operation), operation["total"]) == ({"created": 1}, 1), operation["errors"]
    external = get_issue(api, "A")["external"]
    assert (external["source"], external["id"]) == ("qa:k", "1")


def test_import_of_csv_with_backslash_quotes_reads_them(api: Api) -> None:
    text = 'title,external_id,source\n"He said \\"hi\\" loud",1,qa:b\n"C:\\\\tmp",2,qa:b\n'

    assert row_counts(import_file(api, text.encode(), CSV)) == {"created": 2}
    assert get_issue(api, 'He said "hi" loud')
    assert get_issue(api, "C:\\tmp")


def test_import_of_csv_with_value_in_unnamed_column_fails_row(api: Api) -> None:
    operation = import_file(api, b"title,external_id,source,\nA,1,qa:u,lost\nB,2,qa:u,\n", CSV)

    assert row_counts(operation) == {"created": 1, "failed": 1}
    assert '"lost"' in operation["errors"][0]["detail"]


def test_import_of_workbook_reads_first_or_given_sheet(api: Api) -> None:
    rows: list[list[str | int]] = [
        ["Title", "External id", "Source"],
        ["Äpfel", 1, "qa:w"],
        ["", "", ""],
        ["B", 2, "qa:w"],
    ]
    body = workbook(
        {"Issues": rows, "More": [["title", "external_id", "source"], ["C", 3, "qa:w"], ["D", "x" * 300, "qa:w"]]}
    )

    assert row_counts(import_file(api, body, XLSX)) == {"created": 2}
    assert get_issue(api, "Äpfel")["external"]["id"] == "1"
    assert row_counts(import_file(api, gzip.compress(body), CSV)) == {"unchanged": 2}, "its content is recognised"
    operation = import_file(api, body, XLSX, sheet="More")
    assert (row_counts(operation), operation["format"]) == ({"created": 1, "failed": 1}, "xlsx")
    assert operation["errors"][0]["line"] == 3
    problem = assert_problem(post_import(api, body, XLSX, sheet="Other"), 422)
    assert 'sheet: "Other" is not a sheet. Use "Issues", "More".' in str(problem["detail"])


def test_import_of_gzip_file_is_unpacked(api: Api) -> None:
    body = gzip.compress(ndjson([row(1)])) + gzip.compress(ndjson([row(2)]))

    assert row_counts(import_file(api, body, "application/gzip")) == {"created": 2}
    encoded = post_import(api, body, NDJSON, headers={"content-encoding": "gzip"})
    assert encoded.status_code == 202
    assert_problem(post_import(api, body, NDJSON, headers={"content-encoding": "br"}), 415)


def test_import_with_unknown_columns_reports_all_at_once(api: Api, database: Database) -> None:
    body = b"Headline text,Ticket,Estimate,labels,labels\nA,1,3,x,y\n"

    problem = assert_problem(post_import(api, body, CSV, map="Nothing=url"), 422)

    detail = str(problem["detail"])
    for part in ('"Headline text", "Estimate", "labels"', "no column for title", '"Nothing" is not a column'):
        assert part in detail
    columns: Any = problem["columns"]
    assert columns[0] == {"name": "Headline text", "field": None, "samples": ["A"]}
    assert columns[1]["field"] == "external_id"
    assert database.one("SELECT count(*) FROM operation") == 0

    mapping = ["Headline text=title", "estimate=", "labels="]
    assert row_counts(import_file(api, body, CSV, map=mapping, source="qa:m")) == {"created": 1}
    problem = assert_problem(post_import(api, body, CSV, map="Ticket=identity"), 422)
    assert "external_id" in str(problem["detail"])


def test_import_of_ndjson_with_mapped_members_reads_them(api: Api) -> None:
    body = ndjson([{"summary": "A", "key": "1", "source": "qa:j", "points": 3}])

    operation = import_file(api, body, NDJSON, map=["summary=title", "key=external_id", "points="])

    assert row_counts(operation) == {"created": 1}, operation["errors"]


VALUES = [
    ("Open", "High", "open", "high"),
    ("CLOSED", "CRITICAL", "closed", "critical"),
    ("In Progress", "Urgent", "in_progress", "critical"),
    ("in-progress", "P1", "in_progress", "critical"),
    (" open ", " high ", "open", "high"),
    ("To Do", "Highest", "open", "critical"),
    ("Done", "1 - Low", "closed", "low"),
    ("Fixed", "No priority", "resolved", "medium"),
    ("Waiting for customer", "Someday", "in_progress", "low"),
]


def test_import_of_common_and_mapped_names_sets_status_and_priority(api: Api) -> None:
    rows = [f"Row {n},{n},qa:v,{status},{priority}" for n, (status, priority, _, _) in enumerate(VALUES)]
    body = "\n".join((HEADER, *rows)).encode()
    mapped = ["status:waiting for Customer=in_progress", "priority:Someday=low"]

    assert row_counts(import_file(api, body, CSV, value=mapped)) == {"created": len(VALUES)}

    for n, (_, _, status, priority) in enumerate(VALUES):
        found = get_issue(api, f"Row {n}")
        assert (found["status"], found["priority"]) == (status, priority)


def test_import_dry_run_groups_unknown_names_with_their_value(api: Api) -> None:
    rows = [f"Row {n},{n},qa:v,{('Parked', 'open')[n % 2]},Someday" for n in range(300)]

    operation = import_file(api, "\n".join((HEADER, *rows)).encode(), CSV, dry_run="true")

    problems = [(each["pointer"], each["rows"], each["first_row"]) for each in operation["problems"]]
    assert problems == [("#/status", 150, 1), ("#/priority", 300, 1)]
    assert (
        '"Parked" is not a known status. Use open, in_progress, resolved or closed'
        in operation["problems"][0]["detail"]
    )
    assert_problem(post_import(api, b"", CSV, value="status:Waiting=later"), 422)


def test_import_of_longest_title_and_source_is_accepted(api: Api) -> None:
    rows = [row(1, title="x" * 512), row(2, source="s" * 255), row(3, title="x" * 513), row(4, source="s" * 256)]

    operation = import_file(api, ndjson(rows))

    assert row_counts(operation) == {"created": 2, "failed": 2}
    assert [error["pointer"] for error in operation["errors"]] == ["#/title", "#/source"]
