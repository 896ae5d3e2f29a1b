"""Issues and imports on the command line."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from devstack.network import wait_until
from tests.conftest import WorkerFactory
from tests.support.database import Database
from tests.support.imports import ndjson, row
from tests.support.processes import Api, tool


def cli(api: Api, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "ISSUETRACKER_URL": str(api.client.base_url)}
    command = [tool("issuetracker"), *arguments]
    return subprocess.run(command, env=env, input=text, capture_output=True, text=True, check=False)


def test_a_file_is_tried_imported_and_imported_again(api: Api, database: Database, tmp_path: Path) -> None:
    file = tmp_path / "issues.jsonl"
    file.write_bytes(ndjson([row(1), row(2, title=""), row(3)]))

    tried = cli(api, "issues", "import", str(file), "--dry-run")
    assert tried.returncode == 1, tried.stderr
    assert tried.stdout.splitlines() == [
        "row 2 (line 2): #/title: String should have at least 1 character",
        "dry run, nothing is changed: 2 created, 0 updated, 0 unchanged, 0 skipped, 1 failed; 3 rows",
    ]
    assert database.one("SELECT count(*) FROM issue") == 0

    first = cli(api, "issues", "import", str(file))
    assert first.returncode == 1, "a row has failed"
    assert first.stdout.splitlines()[-1] == "2 created, 0 updated, 0 unchanged, 0 skipped, 1 failed; 3 rows"
    file.write_bytes(ndjson([row(1), row(3)]))
    again = cli(api, "issues", "import", str(file), "--json")
    assert (again.returncode, json.loads(again.stdout)["unchanged"]) == (0, 2)


def test_a_sheet_comes_from_standard_input(api: Api) -> None:
    sheet = "title,external_id\nLogin fails,1\n"

    done = cli(
        api, "issues", "import", "-", "--format", "csv", "--source", "sheet", "--project", "acme", text=sheet
    )

    assert done.returncode == 0, done.stderr
    (listed,) = json.loads(cli(api, "issues", "list", "--project", "acme", "--json").stdout)
    assert listed["external"] == {"source": "sheet", "id": "1", "url": None}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("issues", "import", "missing.csv"), "missing.csv: No such file"),
        (("issues", "import", "issues.xml"), "--format"),
        (("issues", "import", "-", "--format", "csv"), "#/0"),
        (("issues", "import", "-", "--format", "ndjson", "--source", "No Source"), "query.source"),
        (("issues", "create", " "), "#/title"),
        (("issues", "show", "no-id"), "'ID'"),
        (("issues", "show", "01a20614-800e-771f-862f-526a86f415ac"), "There is no issue"),
        (("issues", "list", "--sort", "relevance"), "relevance"),
        (("enrich", "01a20614-800e-771f-862f-526a86f415ac"), "There is no issue"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: tuple[str, ...], words: str, api: Api) -> None:
    done = cli(api, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert words in line


def test_an_issue_is_created_found_shown_and_enriched_again(
    api: Api, database: Database, new_worker: WorkerFactory
) -> None:
    made = cli(
        api, "issues", "create", "Export [bold]crashes", "--description", "-", "--priority", "high", text="On\nMay"
    )
    assert made.returncode == 0, made.stderr
    issue_id = made.stdout.strip()
    new_worker({})
    wait_until(lambda: database.states() == {"succeeded": 1}, 60, "its first run")

    heading, listed = cli(api, "issues", "list", "--q", "export", "--priority", "high").stdout.splitlines()
    assert heading.split() == ["ID", "CREATED", "STATUS", "PRIORITY", "ENRICHMENT", "TAGS", "TITLE"]
    assert issue_id in listed
    assert "Export [bold]crashes" in listed
    assert cli(api, "issues", "list", "--status", "closed").stdout.count("\n") == 1
    shown = cli(api, "issues", "show", issue_id).stdout
    assert shown.startswith("Export [bold]crashes\n")
    assert shown.endswith("\n\nOn\nMay\n")
    assert json.loads(cli(api, "issues", "show", issue_id, "--json").stdout)["id"] == issue_id

    run = cli(api, "enrich", issue_id, "--wait")
    assert run.returncode == 0, run.stdout
    assert "is succeeded: AI Summary: Export" in run.stdout


def test_a_strangers_text_moves_no_cursor(api: Api) -> None:
    made = api.post("Copy \x1b]52;c;cm0=\x07 this", description="one\r\ntwo\x9b2J").json()

    for arguments in (("issues", "show", made["id"]), ("issues", "list")):
        shown = cli(api, *arguments).stdout
        assert "Copy \ufffd]52" in shown
        assert not {"\x1b", "\x07", "\x9b", "\r"} & set(shown)
