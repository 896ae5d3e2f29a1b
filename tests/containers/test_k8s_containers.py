"""The images run as in the Kubernetes manifests, but without a cluster.

All tests share one node and run in order. Each test leaves all services running.
"""

import re
from collections.abc import Iterator

import httpx
import pytest

from contracts import network
from contracts.names import Queue
from deploy.images import BASE, SERVICES, build, tag
from tests.support import manifests, pods
from tests.support.docker import docker, log, needs_images
from tests.support.installed import Installation
from tests.support.manifests import MIGRATE, SECRETS
from tests.support.pods import exit_code
from tests.support.promql import PROMETHEUS_IMAGE, alerts
from tests.support.redis_users import NAMES as REDIS_USERS
from tests.support.waiting import wait_until

POSTGRES, REDIS, PROMETHEUS = "pgvector/pgvector:pg17", "redis:8", "prom/prometheus:v3.5.0"
ROLES = ["application", "backup", "exporter"]
OWN_SERVICES = ["api", "exporter", "flower", *(f"worker-{queue}" for queue in Queue)]
SERVICES_WITH_INIT = [name for name in OWN_SERVICES if name != "flower"]
LONG_RUNNING = ["postgres", "redis", *OWN_SERVICES]

pytestmark = [
    needs_images(BASE, POSTGRES, REDIS),
    # tests/containers/test_images.py builds the same images.
    pytest.mark.xdist_group("images"),
]


@pytest.fixture(scope="module")
def images() -> dict[str, str]:
    public = {POSTGRES: POSTGRES, REDIS: REDIS, PROMETHEUS: PROMETHEUS_IMAGE}
    return {**{tag(service): build(service) for service in SERVICES}, **public}


@pytest.fixture(scope="module")
def installation(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    image_ids = {**images, "issuetracker-api": images[tag("api")]}
    objects = manifests.render(manifests.K8S / "overlays/full")
    with pods.node(objects, image_ids, tmp_path_factory.mktemp("node")) as node:
        yield Installation(node)


def test_secrets_job_creates_secrets_once(installation: Installation) -> None:
    node = installation.node
    code, output = installation.job(SECRETS, "-without-server")
    assert code == 1
    assert re.fullmatch(r"secrets: access: kubernetes:6443 cannot be reached: .*\n", output)

    node.start_api_server()
    numbers = iter(range(100))
    # Repeat the job, as Kubernetes does.
    wait_until(lambda: installation.job(SECRETS, f"-{next(numbers)}")[0] == 0, "the Secrets to be created")
    created = node.secrets()
    assert set(created) == {"access", "broker", "broker-users", "database", "database-roles", "flower", "grafana"}
    passwords = [
        created["broker"]["password"],
        created["database"]["password"],
        created["database"]["superuser-password"],
        *(created["database-roles"][f"{role}-password"] for role in ROLES),
        *(created["broker-users"][f"{user}-password"] for user in REDIS_USERS),
    ]
    assert all(re.fullmatch("[0-9a-f]{40}", password) for password in passwords)
    assert len(set(passwords)) == len(passwords)

    code, output = installation.job(SECRETS, "-again")
    kept = ": already exists, unchanged"
    assert (code, output) == (0, "".join(f"secrets: {name}{kept}\n" for name in sorted(created)))
    assert node.secrets() == created


def test_services_started_in_any_order_become_ready(installation: Installation) -> None:
    node = installation.node
    init_containers = [*(node.init(name) for name in SERVICES_WITH_INIT), node.init(MIGRATE)]
    wait_until(
        lambda: all("is unavailable" in log(name) for name in init_containers),
        "the init containers to log the missing database",
    )

    for server in ("redis", "postgres"):
        installation.start(server)
    for server in ("redis", "postgres"):
        installation.ready(server)
    assert exit_code(init_containers[-1]) == 0
    # Like in the database of an earlier release, the roles of the components are missing.
    reason = "password authentication failed"
    wait_until(lambda: reason in log(init_containers[0]), "the init container to log the missing role")
    for suffix in ("-first", "-second"):
        roles = node.init(MIGRATE, 1, suffix=suffix)
        assert (exit_code(roles), log(roles)) == (0, "")
    wait_until(
        lambda: "the schema is at no revision" in log(init_containers[0]),
        "the init container to log the missing schema",
    )
    assert installation.job(MIGRATE, "-first")[0] == 0
    assert [exit_code(container) for container in init_containers] == [0] * len(init_containers)
    # A second migration has nothing to do.
    assert installation.job(MIGRATE, "-second")[0] == 0

    for name in OWN_SERVICES:
        installation.start(name)
    for name in OWN_SERVICES:
        installation.ready(name)
        assert not node.probe(installation.running[name], name, "liveness")
    assert installation.api.get(network.READINESS_PATH).json()["status"] == "ready"


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_container_runs_hardened(name: str, installation: Installation) -> None:
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
    output = docker(
        "exec", container, "sh", "-c", "touch /new /etc/new 2>&1; ls /new /etc/new 2>/dev/null", check=False
    )
    assert "Read-only file system" in output
    assert docker("inspect", "--format={{.State.OOMKilled}} {{.RestartCount}}", container) == "false 0"


def test_process_arguments_contain_no_password(installation: Installation) -> None:
    secret = {value for entries in installation.node.secrets().values() for value in entries.values()}
    for container in installation.running.values():
        arguments = docker("top", container, "-eo", "pid,args")
        assert not [value for value in secret if value in arguments]


def test_posted_issue_is_enriched_in_containers(installation: Installation) -> None:
    installation.enrich("The button Save does nothing")


def test_services_connect_to_postgres_as_their_own_roles(installation: Installation) -> None:
    # The exporter connects when it is scraped.
    port = installation.node.port(installation.running["exporter"], network.EXPORTER_PORT)

    def is_up() -> bool:
        # On a busy machine, a query of the exporter may time out.
        scraped = httpx.get(f"http://127.0.0.1:{port}{network.METRICS_PATH}", timeout=60).text
        return {"issuetracker_database_up 1.0", "issuetracker_schema_at_head 1.0"} <= set(scraped.splitlines())

    wait_until(is_up, "the state of the database in the metrics")
    names = installation.sql("SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = 'IssueTracker'")
    assert "issuetracker_application" in names.split()
    assert "issuetracker" not in names.split()
    tables = installation.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
    assert tables == "issuetracker"


def test_metrics_ports_return_metrics(installation: Installation) -> None:
    ports = {"api": network.API_PORT, "exporter": network.EXPORTER_PORT, "flower": network.FLOWER_PORT}
    for name, port in {**ports, f"worker-{Queue.ISSUES}": network.WORKER_METRICS_PORT}.items():
        published = installation.node.port(installation.running[name], port)
        response = httpx.get(f"http://127.0.0.1:{published}{network.METRICS_PATH}", timeout=60)
        assert response.status_code == 200, name
        assert "issuetracker_build_info" in response.text or name == "flower", name


@needs_images(PROMETHEUS_IMAGE)
def test_prometheus_pod_scrapes_every_target_and_loads_rules(installation: Installation) -> None:
    installation.start("prometheus")
    installation.ready("prometheus")
    port = installation.node.port(installation.running["prometheus"], 9090)
    prometheus = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30)

    def query(expression: str) -> list[tuple[str, str]]:
        found = prometheus.get("/query", params={"query": expression}).json()["data"]["result"]
        return sorted((next(iter(item["metric"].values()), ""), item["value"][1]) for item in found)

    expected = [(job, "1") for job in sorted((*OWN_SERVICES, "prometheus"))]
    wait_until(
        lambda: query("sum by (job) (up)") == expected,
        lambda: f"all targets to be up: {query('up')}\n{log(installation.running['prometheus'])}",
    )
    rules = [rule for group in prometheus.get("/rules").json()["data"]["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in rules if rule["type"] == "alerting"} == {item["alert"] for item in alerts()}
    wait_until(lambda: query("max(issuetracker_database_up)") == [("", "1")], "the exporter's metrics")
    assert installation.node.stop(installation.running.pop("prometheus"), "prometheus") == 0


def test_api_and_flower_require_credentials(installation: Installation) -> None:
    port = installation.node.port(installation.running["api"], network.API_PORT)
    assert httpx.get(f"http://127.0.0.1:{port}/api/v1/issues", timeout=60).status_code == 401
    port = installation.node.port(installation.running["flower"], network.FLOWER_PORT)
    user, _, password = installation.node.secrets()["flower"]["FLOWER_BASIC_AUTH"].partition(":")
    assert httpx.get(f"http://127.0.0.1:{port}/workers", timeout=60).status_code == 401
    assert httpx.get(f"http://127.0.0.1:{port}/workers", auth=(user, password), timeout=60).status_code == 200


@pytest.mark.parametrize("server", ["redis", "postgres"])
def test_server_outage_fails_no_liveness_probe(server: str, installation: Installation) -> None:
    node = installation.node
    docker("pause", installation.running[server])
    try:
        if server == "postgres":
            response = installation.api.post("/api/v1/issues", json={"title": "During the outage"})
            assert response.status_code == 503
            assert response.headers["Retry-After"]
        for name in OWN_SERVICES:
            assert not node.probe(installation.running[name], name, "liveness"), name
        assert not node.probe(installation.running["api"], "api", "readiness")
    finally:
        docker("unpause", installation.running[server])
    for name in OWN_SERVICES:
        installation.ready(name)
    installation.enrich(f"After the outage of {server}")


def test_backup_job_creates_dump_and_deletes_old_dumps(installation: Installation) -> None:
    code, output = installation.job("backup", "-first")
    assert code == 0, output
    claim = installation.node.claim("backups")
    (dump,) = claim.glob("*.dump")
    assert output.startswith(f"backup: {dump.name}, ")
    for day in range(1, 20):
        (claim / f"issuetracker-202001{day:02}T000000Z.dump").touch()
    (claim / "issuetracker-20200101T000000Z.dump.partial").touch()

    code, output = installation.job("backup", "-second")

    assert code == 0, output
    names = sorted(file.name for file in claim.iterdir())
    assert len(names) == 14
    assert dump.name in names
    assert not [name for name in names if name.endswith(".partial")]
    for file in claim.glob("issuetracker-2020*"):
        file.unlink()


def test_restore_job_restores_issues(installation: Installation) -> None:
    issues = installation.sql("SELECT id FROM issue ORDER BY id")
    result = installation.job("restore", "-with-connections")
    assert result[0] == 2
    assert "connections to the database. Scale the API, the workers and the exporter to 0 first." in result[1]
    for name in SERVICES_WITH_INIT:
        assert installation.node.stop(installation.running[name], name) == 0
        installation.node.remove(installation.running[name])
    installation.sql("DELETE FROM issue WHERE id IN (SELECT id FROM issue LIMIT 1)")
    result = installation.job("restore", "-without-replace")
    assert result[0] == 2
    assert "Set REPLACE=yes to delete them" in result[1]

    code, output = installation.job("restore", "-with-replace", REPLACE="yes")

    assert code == 0, output
    assert installation.sql("SELECT id FROM issue ORDER BY id") == issues
    assert installation.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'issue'") == "issuetracker"
    for name in SERVICES_WITH_INIT:
        assert exit_code(installation.node.init(name, suffix="-after-restore")) == 0
        installation.start(name, "-after-restore")
        installation.ready(name)
    installation.enrich("After the restore")


def test_services_connect_to_redis_as_their_own_users(installation: Installation) -> None:
    def cli(*command: str) -> str:
        return docker("exec", installation.running["redis"], "redis-cli", *command)

    expected = {"api", "default", "flower", "worker"}
    wait_until(lambda: set(re.findall(r" user=(\w+)", cli("CLIENT", "LIST"))) == expected, "all services")
    assert cli("ACL", "LOG") == "", "a user was denied a command"


def test_rotated_passwords_replace_old_ones(installation: Installation) -> None:
    """Follow docs/how-to/kubernetes.md: change the servers and the Secrets, then restart the pods."""
    node, new = installation.node, {"database": "a" * 40, "broker": "b" * 40, "flower": "c" * 40}
    before = node.secrets()
    url = before["database"]["DATABASE_URL"].replace(before["database"]["password"], new["database"])
    node.change_secret("database", {"password": new["database"], "DATABASE_URL": url})
    installation.sql(f"ALTER ROLE issuetracker PASSWORD '{new['database']}'")
    node.delete_secret("database-roles")
    assert installation.job(SECRETS, "-rotated")[0] == 0
    assert exit_code(node.init(MIGRATE, 1, suffix="-rotated")) == 0
    assert set(before["database-roles"].values()).isdisjoint(node.secrets()["database-roles"].values())
    redis = ("exec", installation.running["redis"], "redis-cli")
    for number, user in enumerate(REDIS_USERS):
        password, old = str(number) * 40, before["broker-users"][f"{user}-password"]
        assert docker(*redis, "ACL", "SETUSER", user, f">{password}") == "OK"
        url = before["broker-users"][user].replace(old, password)
        node.change_secret("broker-users", {f"{user}-password": password, user: url})
    node.change_secret("broker", {"password": new["broker"]})
    node.change_secret("flower", {"FLOWER_BASIC_AUTH": f"admin:{new['flower']}"})

    # Redis accepts both passwords until its own restart.
    for name in (*OWN_SERVICES, "redis"):
        installation.restart(name, "-rotated")

    for name in OWN_SERVICES:
        installation.ready(name)
    installation.enrich("After the rotation")
    old = f"--env=REDISCLI_AUTH={before['broker']['password']}"
    result = docker("exec", old, installation.running["redis"], "redis-cli", "PING", check=False)
    assert result.startswith("NOAUTH")


def test_containers_stop_within_grace_period(installation: Installation) -> None:
    for name in [*OWN_SERVICES, "redis", "postgres"]:
        container = installation.running[name]
        assert installation.node.stop(container, name) == 0, f"{name}\n{log(container)}"


def test_data_after_restart_of_all_containers_is_complete(installation: Installation) -> None:
    for name in ("postgres", "redis", *OWN_SERVICES):
        installation.node.remove(installation.running[name])
        installation.start(name, "-again")
        installation.ready(name)
    assert int(installation.sql("SELECT count(*) FROM issue")) >= 4
    installation.enrich("After a restart of everything")
