"""Errors of the command line are one line with exit code 2."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from issuetracker_cli.main import main
from tests.support.cli import run_cli


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that fails with code 2; return its standard error."""
    monkeypatch.setattr(sys, "argv", ["issuetracker", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["issues", "list", "--bogus"], "No such option: --bogus"),
        (["issues", "create"], "Missing argument 'title'."),
        (["issues", "lst"], "No such command 'lst'. Did you mean 'list'?"),
        (["issues", "list", "--limit", "x"], '--limit: "x" is not valid. Use a whole number.'),
        (["issues", "list", "--limit", "0"], '--limit: "0" is not valid. Use a number of at least 1.'),
        (
            ["issues", "show", "12"],
            'ID: "12" is not valid. Use a UUID such as 01a20614-800e-771f-862f-526a86f415ac.',
        ),
        (["projects", "erase"], "Missing argument 'NAME'."),
    ],
)
def test_cli_with_invalid_input_prints_one_line(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments, monkeypatch, capsys) == f"issuetracker: {message}\n"


@pytest.mark.parametrize("arguments", [[], ["issues"]])
def test_cli_without_command_prints_help_with_its_lines(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = run(arguments, monkeypatch, capsys).splitlines()

    assert lines[0].startswith("Usage: ")
    assert len(lines) > 5


def test_error_of_server_is_printed_without_control_characters() -> None:
    """The server may be another one than expected, or quote text of an issue."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"detail": "\x1b]52;c;cm0=\x07 \x9b2J \u202eevil\r\nsecond line"}).encode()
            self.send_response(422)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        run = run_cli(f"http://127.0.0.1:{server.server_port}", "issues", "list")
        server.shutdown()

    assert run.returncode == 2
    assert run.stderr == "issuetracker: \ufffd]52;c;cm0=\ufffd \ufffd2J \ufffdevil second line\n"
