"""The API keeps what its OpenAPI document promises, whatever it is sent, at once or step by step."""

import os
import re
import subprocess
from pathlib import Path

from tests.support.processes import ROOT, Api, tool

EXAMPLES = 3
"""Of each operation in each phase; `--max-examples 100` by hand finds more, in minutes."""
CASES_MIN = 500


def test_schemathesis_finds_nothing(api: Api, tmp_path: Path) -> None:
    command = [
        *(tool("schemathesis"), "--config-file", str(ROOT / "tests/support/schemathesis.toml")),
        *("run", f"{api.client.base_url}/openapi.json", "--checks", "all", "--mode", "all"),
        *("--max-examples", str(EXAMPLES), "--seed", "1", "--no-color"),
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
