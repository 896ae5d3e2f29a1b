"""Rolling upgrades between the latest release and this tree, in both orders and back, under traffic.

The release is built as wheels from its own commit. At each switch, jobs are running and messages are queued.
`Installation.finish` asserts that no request failed, each issue was enriched once, and no job is dead or open.
"""

import json
from collections.abc import Iterator

import pytest

from contracts import CONTRACT_VERSION
from contracts.names import Task
from contracts.schemas import build_schemas, find_breaking_changes
from tests.support import released
from tests.support.installation import Installation
from tests.support.processes import ROOT
from tests.support.released import Release
from tests.support.servers import start_servers

# One process runs all tests, because each test starts five processes.
# Each test installs a release and performs a complete upgrade under traffic.
pytestmark = [pytest.mark.xdist_group("upgrade")]

MAJOR = CONTRACT_VERSION.partition(".")[0]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return released.build(tmp_path_factory.mktemp("release"))


@pytest.fixture
def installation(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Yield an installation on empty servers with the schema of the release."""
    installation = Installation(
        start_servers(tmp_path_factory.mktemp("servers")), release, tmp_path_factory.mktemp("idle")
    )
    installation.migrate("released")
    yield installation
    print(f"\n{installation.summary()}")
    installation.close()


def read_documented_sql(part: str) -> str:
    """Return the SQL block of the upgrade guide that contains `part`."""
    blocks = (ROOT / "docs/how-to/upgrade.md").read_text().split("```sql\n")[1:]
    (found,) = [sql for block in blocks if part in (sql := block.partition("```")[0])]
    return found


def test_upgrade_with_api_first_loses_no_issue(installation: Installation) -> None:
    """Upgrade the schema, the API and then the workers. New tasks wait for the new workers."""
    api, worker = installation.start_api("released"), installation.start_worker("released")
    installation.traffic.start()
    installation.wait_for_enriched(10, "released")

    installation.migrate("new")
    installation.wait_for_enriched(10, "released")

    api = installation.replace_api(api, "new")
    installation.wait_for_contract(CONTRACT_VERSION, "released")
    assert api.client.post("/api/v1/models/train", json={"project": "default"}).status_code == 202
    installation.wait_for_rejection(Task.RETRAIN)

    installation.replace_worker(worker, "new")
    installation.wait_for_enriched(10, "new")

    installation.finish()
    assert installation.count_ended(Task.RETRAIN) == {"skipped": 1}, (
        "the training must be skipped without examples"
    )

    installation.database.query(read_documented_sql("enqueue_job"))
    installation.finish()
    assert installation.database.one("SELECT count(*) FROM issue_search") == len(installation.traffic.accepted)


def test_upgrade_with_workers_first_loses_no_issue(installation: Installation) -> None:
    """Upgrade the schema, the workers and then the API. The released dispatcher publishes unknown tasks."""
    api, worker = installation.start_api("released"), installation.start_worker("released")
    installation.traffic.start()
    installation.migrate("new")

    installation.replace_worker(worker, "new")
    installation.wait_for_enriched(10, "new")
    installation.wait_for_end_of(Task.INDEX_ISSUE)

    installation.replace_api(api, "new")
    installation.wait_for_enriched(10, "new")

    installation.finish()
    assert installation.count_enrichments()[installation.release.contract_version, "new"] > 0


def test_rollback_and_repeated_upgrade_lose_no_issue(installation: Installation) -> None:
    """Roll back the images but not the schema. New tasks wait until the second upgrade."""
    installation.migrate("new")
    api, worker = installation.start_api("new"), installation.start_worker("new")
    installation.traffic.start()
    installation.wait_for_enriched(10, "new")

    worker = installation.replace_worker(worker, "released")
    installation.wait_for_rejection(Task.INDEX_ISSUE)
    api = installation.replace_api(api, "released")
    installation.wait_for_enriched(10, "released")
    installation.wait_for_rejection(Task.INDEX_ISSUE)

    assert {row["task"] for row in installation.database.query(read_documented_sql("refused_since"))} == {
        Task.INDEX_ISSUE
    }

    installation.replace_api(api, "new")
    installation.replace_worker(worker, "new")

    installation.finish()
    assert installation.count_ended(Task.INDEX_ISSUE).keys() == {"succeeded"}


def test_messages_are_compatible_with_released_schemas(release: Release) -> None:
    """Compare with the released schemas, because a change could have rewritten the checked-in ones."""
    current = build_schemas()
    before = {path.stem: json.loads(path.read_text()) for path in release.schemas(MAJOR)}
    assert {
        name: faults for name in before if (faults := find_breaking_changes(before[name], current[name]))
    } == {}
