"""Issue and import commands of the CLI."""

import gzip
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import WorkerFactory
from tests.integration.test_imports import NO_DETAILS, insert_uncommitted_issue, is_waiting
from tests.support.cli import run_cli
from tests.support.database import Database
from tests.support.imports import ndjson, row
from tests.support.processes import Api, tool
from tests.support.servers import Servers
from tests.support.waiting import wait_until


def cli(api: Api, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return run_cli(str(api.client.base_url), *arguments, text=text)


def test_import_cli_with_dry_run_and_repetition_prints_counts(
    api: Api, database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "issues.jsonl"
    file.write_bytes(ndjson([row(1), row(2, title=""), row(3)]))

    dry_run = cli(api, "issues", "import", str(file), "--dry-run")
    assert dry_run.returncode == 1, dry_run.stderr
    assert dry_run.stdout.splitlines() == [
        "row 2 (line 2): title: The text is empty. Use at least 1 character.",
        "dry run, no changes made: 2 created, 0 updated, 0 unchanged, 0 skipped, 1 failed; 3 rows",
    ]
    assert database.one("SELECT count(*) FROM issue") == 0

    first = cli(api, "issues", "import", str(file))
    assert first.returncode == 1, "a failed row must set the exit code"
    assert first.stdout.splitlines()[-1] == "2 created, 0 updated, 0 unchanged, 0 skipped, 1 failed; 3 rows"
    file.write_bytes(ndjson([row(1), row(3)]))
    repeated = cli(api, "issues", "import", str(file), "--json")
    assert (repeated.returncode, json.loads(repeated.stdout)["unchanged"]) == (0, 2)


def test_import_cli_reads_csv_from_standard_input(api: Api) -> None:
    sheet = "title,external_id\nLogin fails,1\n"

    done = cli(
        api, "issues", "import", "-", "--format", "csv", "--source", "sheet", "--project", "acme", text=sheet
    )

    assert done.returncode == 0, done.stderr
    (listed,) = json.loads(cli(api, "issues", "list", "--project", "acme", "--json").stdout)
    assert listed["external"] == {"source": "sheet", "id": "1", "url": None, **NO_DETAILS}


def test_import_cli_with_mapped_columns_and_names_imports_rows(api: Api, tmp_path: Path) -> None:
    file, names = tmp_path / "issues.csv.gz", tmp_path / "names.json"
    file.write_bytes(gzip.compress("Überschrift;Ticket;State\nGrüße;1;Parked\n".encode("cp1252")))
    names.write_text('{"status": {"parked": "in_progress"}}')
    mapped = ("--map", "Überschrift=title", "--source", "qa:cli", "--encoding", "windows-1252")

    unmapped = cli(api, "issues", "import", str(file), *mapped)
    assert unmapped.returncode == 1
    assert '"Parked" is not a known status' in unmapped.stdout

    done = cli(api, "issues", "import", str(file), *mapped, "--values", str(names), "--json")
    assert (done.returncode, json.loads(done.stdout)["created"]) == (0, 1), done.stderr


def test_import_cli_reads_own_list_as_json(api: Api, tmp_path: Path) -> None:
    api.post("Posted here")
    file = tmp_path / "issues.json"
    file.write_text(cli(api, "issues", "list", "--json").stdout)

    done = cli(api, "issues", "import", str(file))

    assert done.stdout == "0 created, 0 updated, 1 unchanged, 0 skipped, 0 failed; 1 rows\n"


def test_import_cli_when_interrupted_prints_operation_id(
    api: Api, database: Database, servers: Servers, tmp_path: Path
) -> None:
    file = tmp_path / "issues.ndjson"
    file.write_bytes(ndjson([row(1)]))
    lock_connection = insert_uncommitted_issue(servers, "1")
    command = [tool("issuetracker"), "issues", "import", str(file)]
    env = {**os.environ, "ISSUETRACKER_URL": str(api.client.base_url)}
    process = subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: is_waiting(database), "the import to wait")
    wait_until(lambda: api.log.has("request_completed", "/operations/"), "the command to poll")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate()
    lock_connection.rollback()
    lock_connection.close()

    assert (process.returncode, output) == (130, "")
    assert f"import {_operation_id(database)} continues on the server" in errors
    wait_until(lambda: database.one("SELECT state FROM operation") == "finished", "the import to finish")


def _operation_id(database: Database) -> str:
    return str(database.one("SELECT id::text FROM operation"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("issues", "import", "-", "--encoding", "no encoding"), "--encoding"),
        (("issues", "import", "-", "--map", "A=headline"), "map"),
        (("issues", "import", "-", "--date-order", "ymd"), "date_order"),
        (("issues", "import", "missing.csv"), "missing.csv: No such file"),
        (("issues", "import", "issues.xml"), "--format"),
        (("issues", "import", "-", "--format", "csv"), "header:"),
        (("issues", "import", "-", "--format", "ndjson", "--source", "No Source"), "source:"),
        (("issues", "create", " "), "title:"),
        (("issues", "show", "no-id"), 'ID: "no-id" is not valid. Use a UUID'),
        (("issues", "show", "01a20614-800e-771f-862f-526a86f415ac"), "does not exist"),
        (("issues", "list", "--sort", "relevance"), "relevance"),
        (("enrich", "01a20614-800e-771f-862f-526a86f415ac"), "does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_issue_cli_with_bad_input_prints_one_line_and_exits_with_2(
    arguments: tuple[str, ...], message: str, api: Api
) -> None:
    done = cli(api, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert message in line


def test_issue_cli_creates_lists_shows_and_enriches_issue(
    api: Api, database: Database, new_worker: WorkerFactory
) -> None:
    created = cli(
        api, "issues", "create", "Export [bold]crashes", "--description", "-", "--priority", "high", text="On\nMay"
    )
    assert created.returncode == 0, created.stderr
    issue_id = created.stdout.strip()
    new_worker({})
    wait_until(lambda: database.states() == {"succeeded": 1}, "the first enrichment run")

    heading, listed = cli(api, "issues", "list", "--q", "export", "--priority", "high").stdout.splitlines()
    assert heading.split() == ["ID", "CREATED", "STATUS", "PRIORITY", "ENRICHMENT", "TAGS", "TITLE"]
    assert issue_id in listed
    assert "Export [bold]crashes" in listed
    assert cli(api, "issues", "list", "--status", "closed").stdout.count("\n") == 1
    output = cli(api, "issues", "show", issue_id).stdout
    assert output.startswith("Export [bold]crashes\n")
    assert output.endswith("\n\nOn\nMay\n")
    assert json.loads(cli(api, "issues", "show", issue_id, "--json").stdout)["id"] == issue_id

    run = cli(api, "enrich", issue_id, "--wait")
    assert run.returncode == 0, run.stdout
    assert "is succeeded: AI Summary: Export" in run.stdout


def test_issue_cli_output_contains_no_control_characters(api: Api) -> None:
    created = api.post("Copy \x1b]52;c;cm0=\x07 this", description="one\r\ntwo\x9b2J").json()

    for arguments in (("issues", "show", created["id"]), ("issues", "list")):
        output = cli(api, *arguments).stdout
        assert "Copy \ufffd]52" in output
        assert not {"\x1b", "\x07", "\x9b", "\r"} & set(output)
