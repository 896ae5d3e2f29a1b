"""Runs the command `issuetracker` in the process of the test, without the start of an interpreter.

tests/integration/test_cli.py runs the installed command instead (`run_installed`).
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from unittest.mock import patch

from typer.testing import CliRunner

from issuetracker_cli.main import main
from tests.support.processes import tool


def run_cli(
    url: str, *arguments: str, text: str = "", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command against the API at `url`, with `text` as its standard input and without a terminal."""
    code: object = 0
    with (
        CliRunner().isolation(text, {"ISSUETRACKER_URL": url, **(env or {})}) as (stdout, stderr, _),
        patch.object(sys, "argv", ["issuetracker", *arguments]),
    ):
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code
        sys.stdout.flush()
        sys.stderr.flush()
        printed = stdout.getvalue().decode(), stderr.getvalue().decode()
    return subprocess.CompletedProcess(arguments, code if isinstance(code, int) else code is not None, *printed)


def run_installed(url: str, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run the installed command in a process of its own, otherwise as `run_cli`."""
    return subprocess.run(
        [tool("issuetracker"), *arguments],
        env={**os.environ, "ISSUETRACKER_URL": url},
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
