"""The API conforms to its OpenAPI document for generated requests and sequences of requests."""

import os
import random
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ApiFactory
from tests.support.access import ADMIN, CLOSED, INGEST, NO_TOKEN, SCOPES, Tokens
from tests.support.database import Database
from tests.support.processes import ROOT, Api, tool

IS_NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
PHASES = "examples,coverage,fuzzing,stateful" if IS_NIGHTLY else "coverage"
"""The coverage phase requests each operation with valid and invalid values of each parameter."""
EXAMPLES = 100
"""Examples per operation and phase, except in the coverage phase."""
SEED = random.randrange(2**32) if IS_NIGHTLY else 1
CASES_MIN = 500
# Most requests of a limited token are denied, so the checks of accepted and rejected values do not apply.
CHECKS_OF_KINDS = ",".join(
    [
        *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
        *("response_headers_conformance", "response_schema_conformance", "denies_other_scopes"),
    ]
)


@pytest.fixture
def api(new_api: ApiFactory) -> Api:
    # Without a limit per address, each failed authentication returns 401 instead of 429.
    return new_api({**CLOSED, "RATE_LIMIT_ADDRESS": "0", "DISPATCH_POLL_SECONDS": "3600"})


def run_schemathesis(api: Api, directory: Path, kind: str, secret: str | None, *options: str) -> None:
    """Run schemathesis with a token of this kind; assert that it tested all operations and found nothing."""
    command = [
        *(tool("schemathesis"), "--config-file", str(ROOT / "tests/support/schemathesis.toml")),
        *("run", f"{api.client.base_url}/openapi.json", "--mode", "all", "--seed", str(SEED), "--no-color"),
        *(() if secret is None else ("--header", f"Authorization: Bearer {secret}")),
        *options,
    ]
    hooks = {
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks",
        "TOKEN_KIND": kind,
    }
    run = subprocess.run(
        command, cwd=directory, env={**os.environ, **hooks}, capture_output=True, text=True, check=False
    )

    assert run.returncode == 0, run.stdout + run.stderr
    selected = re.search(r"Selected: (\d+)/(\d+)\n  Tested: (\d+)", run.stdout)
    assert selected, run.stdout
    assert selected[1] == selected[2] == selected[3]
    summary = re.search(r"(\d+) generated, (\d+) passed", run.stdout)
    assert summary, run.stdout
    assert summary[1] == summary[2]
    assert int(summary[1]) >= CASES_MIN
    print(f"{kind}: {summary[1]} cases of {selected[3]} operations")


@pytest.mark.timeout(3600 if IS_NIGHTLY else 600)
def test_api_conforms_to_openapi_document(api: Api, tmp_path: Path) -> None:
    options = ("--checks", "all", "--phases", PHASES, "--max-examples", str(EXAMPLES))
    run_schemathesis(api, tmp_path, "admin", ADMIN, *options)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", [NO_TOKEN, INGEST, *(scope for scope in SCOPES if scope != "admin")])
def test_api_with_limited_token_denies_other_operations(
    kind: str, api: Api, database: Database, tmp_path: Path
) -> None:
    secrets = Tokens(api).kinds(database)

    run_schemathesis(api, tmp_path, kind, secrets.get(kind), "--checks", CHECKS_OF_KINDS, "--phases", "coverage")
