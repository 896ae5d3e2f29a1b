"""The latest release and this tree side by side, in both orders and back again, with issues flowing all along.

The release is built as wheels from its own commit. At each switch jobs are running and messages are waiting.
`Installation.end` asserts what an operator would look at: no request failed, each issue was enriched once, nothing
is dead or left over.
"""

import json
from collections.abc import Iterator

import pytest

from contracts import CONTRACT_VERSION
from contracts.names import Task
from contracts.schemas import breaks, current_schemas
from tests.support import released
from tests.support.installation import Installation
from tests.support.processes import ROOT
from tests.support.released import Release
from tests.support.servers import start_servers

# One process runs them all: each starts five others.
# Each installs a release and goes through a whole upgrade under traffic.
pytestmark = [pytest.mark.xdist_group("upgrade"), pytest.mark.timeout(600)]

MAJOR = CONTRACT_VERSION.partition(".")[0]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return released.build(tmp_path_factory.mktemp("release"))


@pytest.fixture
def installation(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Empty servers with the release's schema."""
    made = Installation(
        start_servers(tmp_path_factory.mktemp("servers")), release, tmp_path_factory.mktemp("idle")
    )
    made.migrate("released")
    yield made
    print(f"\n{made.summary()}")
    made.close()


def documented(part: str) -> str:
    """Return the SQL in the guide that has the part in it."""
    blocks = (ROOT / "docs/how-to/upgrade.md").read_text().split("```sql\n")[1:]
    (found,) = [sql for block in blocks if part in (sql := block.partition("```")[0])]
    return found


def test_api_first(installation: Installation) -> None:
    """Expand; then the API; then workers. What only they can do waits for them."""
    api, worker = installation.start_api("released"), installation.start_worker("released")
    installation.traffic.start()
    installation.wait_for_enriched(10, "released")

    installation.migrate("new")
    installation.wait_for_enriched(10, "released")

    api = installation.replace_api(api, "new")
    installation.wait_for_enriched(10, "released")
    assert api.client.post("/api/v1/models/train", json={"project": "default"}).status_code == 202
    installation.wait_for_rejection(Task.RETRAIN)

    installation.replace_worker(worker, "new")
    installation.wait_for_enriched(10, "new")

    installation.end()
    assert installation.count_enrichments()[CONTRACT_VERSION, "released"] > 0
    assert installation.count_ended(Task.RETRAIN) == {"skipped": 1}, "it found nothing to learn from"

    installation.database.query(documented("INSERT INTO job"))
    installation.end()
    assert installation.database.one("SELECT count(*) FROM issue_search") == len(installation.traffic.accepted)


def test_workers_first(installation: Installation) -> None:
    """Expand; then workers; then the API. The released dispatcher publishes tasks that it never heard of."""
    api, worker = installation.start_api("released"), installation.start_worker("released")
    installation.traffic.start()
    installation.migrate("new")

    installation.replace_worker(worker, "new")
    installation.wait_for_enriched(10, "new")
    installation.wait_for_end_of(Task.INDEX_ISSUE)

    installation.replace_api(api, "new")
    installation.wait_for_enriched(10, "new")

    installation.end()
    assert installation.count_enrichments()[installation.release.contract_version, "new"] > 0


def test_back_to_the_release_and_forward_again(installation: Installation) -> None:
    """The images go back, the schema stays. What the release cannot do waits until the upgrade is tried again."""
    installation.migrate("new")
    api, worker = installation.start_api("new"), installation.start_worker("new")
    installation.traffic.start()
    installation.wait_for_enriched(10, "new")

    worker = installation.replace_worker(worker, "released")
    installation.wait_for_rejection(Task.INDEX_ISSUE)
    api = installation.replace_api(api, "released")
    installation.wait_for_enriched(10, "released")
    installation.wait_for_rejection(Task.INDEX_ISSUE)

    assert {row["task"] for row in installation.database.query(documented("refused_since"))} == {Task.INDEX_ISSUE}

    installation.replace_api(api, "new")
    installation.replace_worker(worker, "new")

    installation.end()
    assert installation.count_ended(Task.INDEX_ISSUE).keys() == {"succeeded"}


def test_messages_are_compatible_with_the_released_ones(release: Release) -> None:
    """Not with the checked-in schemas alone, which a change could have rewritten."""
    current = current_schemas()
    before = {path.stem: json.loads(path.read_text()) for path in release.schemas(MAJOR)}
    assert {name: faults for name in before if (faults := breaks(before[name], current[name]))} == {}
