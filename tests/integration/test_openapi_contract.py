"""The API keeps what its OpenAPI document promises, whatever it is sent, at once or step by step."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ApiFactory
from tests.support.access import ADMIN, CLOSED
from tests.support.processes import ROOT, tool

EXAMPLES = 3
"""Of each operation in each phase; `--max-examples 100` by hand finds more, in minutes."""
CASES_MIN = 500


@pytest.mark.timeout(600)
def test_schemathesis_finds_nothing(new_api: ApiFactory, tmp_path: Path) -> None:
    # Whoever fails to prove who they are is not refused for that alone: each attempt is to be answered by 401.
    api = new_api({**CLOSED, "RATE_LIMIT_ADDRESS": "0", "DISPATCH_POLL_SECONDS": "3600"})
    command = [
        *(tool("schemathesis"), "--config-file", str(ROOT / "tests/support/schemathesis.toml")),
        *("run", f"{api.client.base_url}/openapi.json", "--checks", "all", "--mode", "all"),
        *(
            "--max-examples",
            str(EXAMPLES),
            "--seed",
            "1",
            "--no-color",
            "--header",
            f"Authorization: Bearer {ADMIN}",
        ),
    ]
    hooks = {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks"}

    run = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **hooks}, capture_output=True, text=True, check=False
    )

    assert run.returncode == 0, run.stdout + run.stderr
    told = re.search(r"(\d+) generated, (\d+) passed", run.stdout)
    assert told, run.stdout
    assert told[1] == told[2]
    assert int(told[1]) >= CASES_MIN
    print(f"{told[1]} cases")
