"""Errors of the command line are one line with exit code 2."""

import sys

import pytest

from issuetracker_cli.main import main


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
