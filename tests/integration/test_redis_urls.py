"""What the services do with a URL of Valkey, and with one that Celery cannot use."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from tests.conftest import ApiFactory, WorkerFactory
from tests.support.cli import run_cli
from tests.support.database import Database
from tests.support.flower import IMAGE, flower
from tests.support.forked import run_until_exit
from tests.support.metrics import exporter, scrape
from tests.support.ports import free_port
from tests.support.processes import API, WORKER, Api, start_api
from tests.support.servers import LocalValkey, Log, Servers
from tests.support.waiting import wait_until

CLUSTER = "redis+cluster://:secret@127.0.0.1:1/0"
CELERY = (sys.executable, "-m", "celery")
WORKER_COMMAND = (*CELERY, "-A", "app.celery_app", "worker")
PROGRAMS: dict[str, tuple[Path, Sequence[str]]] = {
    "api": (API, (sys.executable, "-m", "uvicorn", "main:app", "--port=1")),
    "exporter": (API, (sys.executable, "-m", "api.exporter")),
    "worker": (WORKER, WORKER_COMMAND),
    "flower of the guide": (WORKER, (*CELERY, "-A", "app.celery_app", "flower")),
    "flower of the image": (IMAGE, (*CELERY, "flower")),
}
NODE = "The server is a node of a Redis Cluster, which Celery cannot use."


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_with_url_of_redis_cluster_prints_one_line_and_exits_with_2(program: str) -> None:
    directory, command = PROGRAMS[program]

    code, lines = run_until_exit(directory, command, {"CELERY_BROKER_URL": CLUSTER})

    assert code == 2
    (line,) = lines
    assert "bad setting: CELERY_BROKER_URL: redis+cluster:// is not valid. Redis Cluster is not supported" in line
    assert "secret" not in line


def test_doctor_with_url_of_redis_cluster_prints_one_line_and_exits_with_2() -> None:
    done = run_cli("http://127.0.0.1:1", "doctor", env={"CELERY_BROKER_URL": CLUSTER})

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "bad setting: CELERY_BROKER_URL: redis+cluster:// is not valid. Redis Cluster is not supported" in line


def test_services_with_url_of_valkey_enrich_issues(
    new_api: ApiFactory, new_worker: WorkerFactory, servers: Servers, database: Database
) -> None:
    port = servers.redis_port
    env = {
        "CELERY_BROKER_URL": f"valkey://127.0.0.1:{port}/0",
        "CELERY_RESULT_BACKEND": f"valkey://127.0.0.1:{port}/1",
    }
    new_worker(env)
    assert new_api(env).post("Over valkey://").status_code == 201

    wait_until(lambda: database.one("SELECT count(ai_summary) FROM issue") == 1, "its enrichment")
    with flower({**servers.env, **env, "FLOWER_UNAUTHENTICATED_API": "true"}, directory=IMAGE) as url:
        queues = httpx.get(f"{url}/api/queues/length", timeout=60)
        assert queues.status_code == 200, queues.text


@pytest.fixture(scope="module")
def cluster_env(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Yield the settings of a node of a cluster. It has no slots, as a node that was just added."""
    port = free_port()
    options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    node = LocalValkey(tmp_path_factory.mktemp("cluster"), port, Log(), options)
    node.start()
    yield {**servers.env, "CELERY_BROKER_URL": f"redis://127.0.0.1:{port}/0", "CELERY_RESULT_BACKEND": ""}
    node.stop()


@pytest.fixture
def api_on_cluster(cluster_env: dict[str, str], database: Database) -> Iterator[Api]:
    del database
    api = start_api(cluster_env)
    yield api
    api.process.stop(60)


def test_api_on_node_of_redis_cluster_accepts_issues_and_logs_reason_once(api_on_cluster: Api) -> None:
    assert api_on_cluster.post("On a cluster").status_code == 201
    wait_until(lambda: api_on_cluster.log.has("dispatch_paused", NODE), "the dispatcher to log the reason")

    assert api_on_cluster.client.get("/readyz").json()["broker"] == "unavailable"
    doctor = run_cli(str(api_on_cluster.client.base_url), "doctor")
    assert doctor.returncode == 12
    assert NODE in doctor.stdout
    assert len([line for line in api_on_cluster.log.lines if NODE in line]) == 1
    assert not api_on_cluster.log.has("Traceback")


def test_exporter_on_node_of_redis_cluster_reports_redis_as_down(
    cluster_env: dict[str, str], servers: Servers
) -> None:
    with exporter(servers, **cluster_env) as port:
        assert scrape(port).one("redis_up") == 0


@pytest.mark.parametrize("program", ["worker", "flower of the guide", "flower of the image"])
def test_celery_program_on_node_of_redis_cluster_exits_with_2(program: str, cluster_env: dict[str, str]) -> None:
    directory, command = PROGRAMS[program]

    code, lines = run_until_exit(directory, command, cluster_env)

    assert code == 2
    assert len([line for line in lines if NODE in line]) == 1
    assert not [line for line in lines if "Traceback" in line]
