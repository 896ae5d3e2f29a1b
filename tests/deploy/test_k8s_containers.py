"""The images run as the Kubernetes manifests say, from an empty cluster to issues enriched; no cluster needed.

One node for all tests, in their order: each leaves it whole.
"""

import re
from collections.abc import Iterator

import httpx
import pytest

from contracts import network
from contracts.names import Queue
from deploy.images import BASE, SERVICES, build, tag
from devstack.network import wait_until
from tests.support import manifests, pods
from tests.support.docker import docker, log, needs_images
from tests.support.installed import Installation
from tests.support.manifests import MIGRATE, SECRETS
from tests.support.pods import exit_code

POSTGRES, REDIS = "pgvector/pgvector:pg17", "redis:8"
OURS = ["api", "exporter", "flower", *(f"worker-{queue}" for queue in Queue)]
WAITING = [name for name in OURS if name != "flower"]
LONG_RUNNING = ["postgres", "redis", *OURS]
TIMEOUT_S = 180

pytestmark = [
    needs_images(BASE, POSTGRES, REDIS),
    # The images' tests build the same ones.
    pytest.mark.xdist_group("images"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def images() -> dict[str, str]:
    return {**{tag(service): build(service) for service in SERVICES}, POSTGRES: POSTGRES, REDIS: REDIS}


@pytest.fixture(scope="module")
def installation(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    known = {**images, "issuetracker-api": images[tag("api")]}
    objects = manifests.render(manifests.DEFAULT)
    with pods.node(objects, known, tmp_path_factory.mktemp("node")) as node:
        yield Installation(node)


def test_secrets_are_made_once_and_never_changed(installation: Installation) -> None:
    node = installation.node
    code, said = installation.job(SECRETS, "-without-server")
    assert code == 1
    assert re.fullmatch(r"secrets: access: kubernetes:6443 cannot be reached: .*\n", said)

    node.start_api_server()
    numbers = iter(range(100))
    # As the Job does.
    wait_until(lambda: installation.job(SECRETS, f"-{next(numbers)}")[0] == 0, TIMEOUT_S, "the Secrets")
    made = node.secrets()
    assert set(made) == {"access", "broker", "database", "flower"}
    passwords = [made["broker"]["password"], made["database"]["password"], made["database"]["superuser-password"]]
    assert all(re.fullmatch("[0-9a-f]{40}", password) for password in passwords)
    assert len(set(passwords)) == 3

    code, said = installation.job(SECRETS, "-again")
    kept = ": already exists, unchanged"
    assert (code, said) == (0, "".join(f"secrets: {name}{kept}\n" for name in sorted(made)))
    assert node.secrets() == made


def test_all_come_up_in_any_order(installation: Installation) -> None:
    node = installation.node
    waiting = [*(node.init(name) for name in WAITING), node.init(MIGRATE)]
    wait_until(lambda: all("does not answer" in log(name) for name in waiting), TIMEOUT_S, "the reason to wait")

    for server in ("redis", "postgres"):
        installation.start(server)
    for server in ("redis", "postgres"):
        installation.ready(server)
    assert exit_code(waiting[-1]) == 0
    wait_until(lambda: "the schema is at nothing" in log(waiting[0]), TIMEOUT_S, "the next reason")
    assert installation.job(MIGRATE, "-first")[0] == 0
    assert [exit_code(container) for container in waiting] == [0] * len(waiting)
    # A second one finds nothing to do.
    assert installation.job(MIGRATE, "-second")[0] == 0

    for name in OURS:
        installation.start(name)
    for name in OURS:
        installation.ready(name)
        assert not node.probe(installation.running[name], name, "liveness")
    assert installation.api.get(network.READINESS_PATH).json()["status"] == "ready"


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_how_it_runs(name: str, installation: Installation) -> None:
    container = installation.running[name]
    status = dict(
        line.split(":\t", 1)
        for line in docker("exec", container, "cat", "/proc/1/status").splitlines()
        if ":\t" in line
    )
    context = installation.node.pods[name]["spec"]["securityContext"]

    assert status["Uid"].split() == [str(context["runAsUser"])] * 4
    assert {int(status[kind], 16) for kind in ("CapEff", "CapPrm", "CapBnd")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    written = docker(
        "exec", container, "sh", "-c", "touch /new /etc/new 2>&1; ls /new /etc/new 2>/dev/null", check=False
    )
    assert "Read-only file system" in written
    assert docker("inspect", "--format={{.State.OOMKilled}} {{.RestartCount}}", container) == "false 0"


def test_passwords_are_in_no_arguments(installation: Installation) -> None:
    secret = {value for entries in installation.node.secrets().values() for value in entries.values()}
    for container in installation.running.values():
        arguments = docker("top", container, "-eo", "pid,args")
        assert not [value for value in secret if value in arguments]


def test_an_issue_is_enriched(installation: Installation) -> None:
    installation.enrich("The button Save does nothing")


def test_metrics_are_told_where_prometheus_is_to_ask(installation: Installation) -> None:
    ports = {"api": network.API_PORT, "exporter": network.EXPORTER_PORT, "flower": network.FLOWER_PORT}
    for name, port in {**ports, f"worker-{Queue.ISSUES}": network.WORKER_METRICS_PORT}.items():
        published = installation.node.port(installation.running[name], port)
        answer = httpx.get(f"http://127.0.0.1:{published}{network.METRICS_PATH}")
        assert answer.status_code == 200, name
        assert "issuetracker_build_info" in answer.text or name == "flower", name


def test_the_api_asks_for_a_token_and_flower_for_its_password(installation: Installation) -> None:
    port = installation.node.port(installation.running["api"], network.API_PORT)
    assert httpx.get(f"http://127.0.0.1:{port}/api/v1/issues").status_code == 401
    port = installation.node.port(installation.running["flower"], network.FLOWER_PORT)
    user, _, password = installation.node.secrets()["flower"]["FLOWER_BASIC_AUTH"].partition(":")
    assert httpx.get(f"http://127.0.0.1:{port}/workers").status_code == 401
    assert httpx.get(f"http://127.0.0.1:{port}/workers", auth=(user, password)).status_code == 200


@pytest.mark.parametrize("server", ["redis", "postgres"])
def test_no_outage_restarts_anything_or_takes_the_api_out_of_its_service(
    server: str, installation: Installation
) -> None:
    node = installation.node
    docker("pause", installation.running[server])
    try:
        if server == "postgres":
            answer = installation.api.post("/api/v1/issues", json={"title": "During the outage"})
            assert answer.status_code == 503
            assert answer.headers["Retry-After"]
        for name in OURS:
            assert not node.probe(installation.running[name], name, "liveness"), name
        assert not node.probe(installation.running["api"], "api", "readiness")
    finally:
        docker("unpause", installation.running[server])
    for name in OURS:
        installation.ready(name)
    installation.enrich(f"After the outage of {server}")


def test_a_backup_is_made_and_old_ones_go(installation: Installation) -> None:
    code, said = installation.job("backup", "-first")
    assert code == 0, said
    claim = installation.node.claim("backups")
    (dump,) = claim.glob("*.dump")
    assert said.startswith(f"backup: {dump.name}, ")
    for day in range(1, 20):
        (claim / f"issuetracker-202001{day:02}T000000Z.dump").touch()
    (claim / "issuetracker-20200101T000000Z.dump.partial").touch()

    code, said = installation.job("backup", "-second")

    assert code == 0, said
    names = sorted(file.name for file in claim.iterdir())
    assert len(names) == 14
    assert dump.name in names
    assert not [name for name in names if name.endswith(".partial")]
    for file in claim.glob("issuetracker-2020*"):
        file.unlink()


def test_a_restore_brings_back_what_was_there(installation: Installation) -> None:
    issues = installation.sql("SELECT id FROM issue ORDER BY id")
    refused = installation.job("restore", "-while-others-are-connected")
    assert refused[0] == 2
    assert "connections to the database. Scale the API, the workers and the exporter to 0 first." in refused[1]
    for name in WAITING:
        assert installation.node.stop(installation.running[name], name) == 0
        installation.node.remove(installation.running[name])
    installation.sql("DELETE FROM issue WHERE id IN (SELECT id FROM issue LIMIT 1)")
    refused = installation.job("restore", "-without-a-word")
    assert refused[0] == 2
    assert "REPLACE=yes deletes them" in refused[1]

    code, said = installation.job("restore", "-at-last", REPLACE="yes")

    assert code == 0, said
    assert installation.sql("SELECT id FROM issue ORDER BY id") == issues
    assert installation.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'issue'") == "issuetracker"
    for name in WAITING:
        assert exit_code(installation.node.init(name, suffix="-after-restore")) == 0
        installation.start(name, "-after-restore")
        installation.ready(name)
    installation.enrich("After the restore")


def test_passwords_are_rotated(installation: Installation) -> None:
    """As docs/how-to/kubernetes.md says: servers learn the new password, Secrets get it, pods start anew."""
    node, new = installation.node, {"database": "a" * 40, "broker": "b" * 40, "flower": "c" * 40}
    before = node.secrets()
    for name, key in (("database", "DATABASE_URL"), ("broker", "CELERY_BROKER_URL")):
        old = before[name]["password"]
        node.change_secret(name, {"password": new[name], key: before[name][key].replace(old, new[name])})
    node.change_secret("flower", {"FLOWER_BASIC_AUTH": f"admin:{new['flower']}"})
    installation.sql(f"ALTER ROLE issuetracker PASSWORD '{new['database']}'")
    redis = ("exec", installation.running["redis"], "redis-cli")
    assert docker(*redis, "ACL", "SETUSER", "default", f">{new['broker']}") == "OK"

    # Both passwords of Redis are good until its own restart.
    for name in (*OURS, "redis"):
        installation.restart(name, "-rotated")

    for name in OURS:
        installation.ready(name)
    installation.enrich("After the rotation")
    old = f"--env=REDISCLI_AUTH={before['broker']['password']}"
    refused = docker("exec", old, installation.running["redis"], "redis-cli", "PING", check=False)
    assert refused.startswith("NOAUTH")


def test_what_is_told_to_stop_ends_in_time(installation: Installation) -> None:
    for name in [*OURS, "redis", "postgres"]:
        container = installation.running[name]
        assert installation.node.stop(container, name) == 0, f"{name}\n{log(container)}"


def test_all_is_there_after_a_restart_of_everything(installation: Installation) -> None:
    for name in ("postgres", "redis", *OURS):
        installation.node.remove(installation.running[name])
        installation.start(name, "-again")
        installation.ready(name)
    assert int(installation.sql("SELECT count(*) FROM issue")) >= 4
    installation.enrich("After a restart of everything")
