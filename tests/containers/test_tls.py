"""Redis over TLS: `rediss://` verifies the certificate by the system's authorities, which SSL_CERT_FILE names."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from tests.conftest import ApiFactory, WorkerFactory
from tests.integration.test_redis_urls import WORKER_COMMAND
from tests.support.certificates import issue, needs_openssl
from tests.support.containers import REDIS_IMAGE, ContainerServer
from tests.support.database import Database
from tests.support.docker import needs_images
from tests.support.flower import IMAGE, flower
from tests.support.forked import ForkedProcess
from tests.support.metrics import exporter, scrape
from tests.support.ports import free_port
from tests.support.processes import WORKER
from tests.support.servers import Log, Servers
from tests.support.waiting import wait_until

pytestmark = [needs_openssl, needs_images(REDIS_IMAGE), pytest.mark.xdist_group("tls")]

PORT = 6380
FILES = {"cert": "server.crt", "key": "server.key", "ca-cert": "ca.crt"}


class TlsRedis(ContainerServer):
    """Redis that listens only for TLS. The host name of its certificate is localhost."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.authority = directory / "ca.crt"
        issue(directory, "ca", ["basicConstraints=critical,CA:true", "keyUsage=critical,keyCertSign"])
        issue(directory, "server", ["subjectAltName=DNS:localhost"], "ca")
        directory.chmod(0o755)
        (directory / "server.key").chmod(0o644)
        options = ["--port", "0", "--tls-port", str(PORT), "--tls-auth-clients", "no"]
        files = [f"--tls-{name}-file /tls/{file}" for name, file in FILES.items()]
        super().__init__(
            REDIS_IMAGE, self.port, PORT, ["redis-server", *options, *" ".join(files).split()], self._responds
        )
        self.container.with_volume_mapping(directory, "/tls")

    def _responds(self) -> bool:
        try:
            with redis.Redis("localhost", self.port, ssl=True, ssl_ca_certs=str(self.authority)) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


@pytest.fixture(scope="module")
def tls_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedis]:
    server = TlsRedis(tmp_path_factory.mktemp("tls"))
    server.start()
    yield server
    server.remove()


def build_env(tls_redis: TlsRedis, scheme: str = "rediss", host: str = "localhost") -> dict[str, str]:
    url = f"{scheme}://{host}:{tls_redis.port}"
    return {
        "CELERY_BROKER_URL": f"{url}/0",
        "CELERY_RESULT_BACKEND": f"{url}/1",
        "SSL_CERT_FILE": str(tls_redis.authority),
    }


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_services_over_tls_without_options_enrich_issues(
    scheme: str,
    tls_redis: TlsRedis,
    new_api: ApiFactory,
    new_worker: WorkerFactory,
    servers: Servers,
    database: Database,
) -> None:
    env = build_env(tls_redis, scheme)
    worker = new_worker(env)
    api = new_api(env)

    assert api.post("Over TLS").status_code == 201

    wait_until(
        lambda: database.one("SELECT count(ai_summary) FROM issue") == 1, lambda: f"its enrichment\n{worker.log}"
    )
    with redis.Redis("localhost", tls_redis.port, 1, ssl=True, ssl_ca_certs=str(tls_redis.authority)) as results:
        wait_until(lambda: results.dbsize() > 0, "the result in database 1")
    wait_until(lambda: api.client.get("/readyz").json()["status"] == "ready", "the API to be ready")
    assert not worker.log.has("insecure")
    with exporter(servers, **env) as port:
        wait_until(lambda: scrape(port).one("redis_up") == 1, "the exporter to report Redis as up")
    with flower({**servers.env, **env, "FLOWER_UNAUTHENTICATED_API": "true"}, directory=IMAGE) as url:
        assert httpx.get(f"{url}/api/queues/length", timeout=60).status_code == 200


@pytest.mark.parametrize("fault", ["unknown authority", "other host name"])
def test_services_over_tls_reject_certificate(
    fault: str, tls_redis: TlsRedis, new_api: ApiFactory, servers: Servers
) -> None:
    env = build_env(tls_redis, host="127.0.0.1" if fault == "other host name" else "localhost")
    if fault == "unknown authority":
        del env["SSL_CERT_FILE"]
    api, log = new_api(env), Log()
    worker = ForkedProcess("worker", WORKER_COMMAND, log, cwd=WORKER, env={**servers.env, **env})
    try:
        message = ("Cannot connect", "certificate verify failed")
        wait_until(lambda: log.has(*message), lambda: f"the worker's line\n{log}")
    finally:
        worker.stop(30)

    assert api.client.get("/readyz").json()["broker"] == "unavailable"
    wait_until(lambda: api.log.has("dispatch_paused", "certificate verify failed"), "the line of the API")
    assert not log.has("Traceback")
    assert not api.log.has("Traceback")
