"""The commands of docs/reference/api.md run in order and unchanged."""

import re
import subprocess

from tests.conftest import ApiFactory, WorkerFactory
from tests.support.database import Database
from tests.support.processes import ROOT
from tests.support.schedules import add_schedule


def test_api_guide_commands_succeed_in_order(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api({"DISPATCH_POLL_SECONDS": "0.1"})
    new_worker({})
    add_schedule(database, "prune")
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/reference/api.md").read_text(), re.DOTALL)
    assert len(blocks) > 5

    run = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", "\n".join(blocks)],
        env={"URL": str(api.client.base_url).rstrip("/"), "PATH": "/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert '"existing_id"' in run.stdout
    assert '"acceptance"' in run.stdout
    assert "Internal Server Error" not in run.stdout
    assert database.one("SELECT count(*) FROM issue WHERE title = 'Posted once'") == 1
