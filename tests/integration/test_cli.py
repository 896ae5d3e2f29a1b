"""The installed command starts. The tests of its commands run it in their own process (tests/support/cli.py)."""

import pytest

from tests.support.cli import run_cli, run_installed
from tests.support.ports import free_port
from tests.support.processes import Api


@pytest.mark.parametrize(
    "arguments",
    [
        ["issues", "list"],
        ["dead-letters", "list"],
        ["model", "status"],
        ["queues"],
        ["tokens", "list"],
        ["audit"],
        ["webhooks", "list"],
    ],
    ids=" ".join,
)
def test_installed_cli_prints_state_of_empty_installation(api: Api, arguments: list[str]) -> None:
    done = run_installed(str(api.client.base_url), *arguments)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_installed_cli_prints_problem_and_exits_with_code(api: Api) -> None:
    issue_id = api.post().json()["id"]

    enrich = run_installed(str(api.client.base_url), "enrich", issue_id)
    doctor = run_installed(str(api.client.base_url), "doctor")

    assert (enrich.returncode, enrich.stderr.count("\n")) == (2, 1), "the first run still waits"
    assert doctor.returncode == 14, "no worker runs"


def test_cli_reaches_this_machine_without_the_proxy(api: Api) -> None:
    proxy = f"http://127.0.0.1:{free_port()}"

    done = run_cli(str(api.client.base_url), "issues", "list", env={"http_proxy": proxy})

    assert (done.returncode, done.stderr) == (0, "")
