"""The API conforms to its OpenAPI document for generated requests and sequences of requests."""

import os
import random
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ApiFactory
from tests.support.access import ADMIN, CLOSED
from tests.support.processes import ROOT, tool

IS_NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
PHASES = "examples,coverage,fuzzing,stateful" if IS_NIGHTLY else "coverage,stateful"
EXAMPLES = 100 if IS_NIGHTLY else 3
"""Examples per operation and phase."""
SEED = random.randrange(2**32) if IS_NIGHTLY else 1
CASES_MIN = 500


@pytest.mark.timeout(3600 if IS_NIGHTLY else 600)
def test_api_conforms_to_openapi_document(new_api: ApiFactory, tmp_path: Path) -> None:
    # Without a limit per address, each failed authentication returns 401 instead of 429.
    api = new_api({**CLOSED, "RATE_LIMIT_ADDRESS": "0", "DISPATCH_POLL_SECONDS": "3600"})
    command = [
        *(tool("schemathesis"), "--config-file", str(ROOT / "tests/support/schemathesis.toml")),
        *("run", f"{api.client.base_url}/openapi.json", "--checks", "all", "--mode", "all", "--phases", PHASES),
        *("--max-examples", str(EXAMPLES), "--seed", str(SEED)),
        *("--no-color", "--header", f"Authorization: Bearer {ADMIN}"),
    ]
    hooks = {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks"}

    run = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **hooks}, capture_output=True, text=True, check=False
    )

    assert run.returncode == 0, run.stdout + run.stderr
    summary = re.search(r"(\d+) generated, (\d+) passed", run.stdout)
    assert summary, run.stdout
    assert summary[1] == summary[2]
    assert int(summary[1]) >= CASES_MIN
    print(f"{summary[1]} cases")
