"""PostgreSQL and Redis in containers of their public images. Tests can kill, pause and restart them."""

import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg2
import redis
from docker.errors import APIError
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from contracts import network
from tests.support.docker import missing
from tests.support.ports import free_port
from tests.support.redis_users import write_users
from tests.support.waiting import wait_until

POSTGRES_IMAGE = "pgvector/pgvector:pg17"
REDIS_IMAGE = "redis:8"
PASSWORD = "of-the-tests"
ROOT = Path(__file__).parents[2]


class ContainerProcess:
    """The first process of a container, with the interface of a server process."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def send(self, number: signal.Signals) -> None:
        self._container.kill(signal=number.name)

    def send_group(self, number: signal.Signals) -> None:
        """Send a signal to all processes of the container. Pause them with the freezer of the kernel."""
        match number:
            case signal.SIGSTOP:
                wait_until(self._pause, "the container to be paused")
            case signal.SIGCONT:
                self._container.unpause()
            case _:
                self.send(number)

    def _pause(self) -> bool:
        try:
            self._container.pause()
        except APIError as error:
            # The runtime thaws the container and gives up if the processes keep forking.
            if "unable to freeze" not in str(error):
                raise
            return False
        return True

    def kill_group(self) -> None:
        self.send(signal.SIGKILL)
        self.wait(30)

    def wait(self, timeout_s: float) -> int:
        code: int = self._container.wait(timeout=timeout_s)["StatusCode"]
        return code


class ContainerServer:
    """A server on a fixed loopback port."""

    def __init__(
        self, image: str, port: int, own_port: int, command: Sequence[str], is_ready: Callable[[], bool]
    ) -> None:
        # The helper image, which removes the containers of a killed test run, is not always available.
        if missing(testcontainers_config.ryuk_image):
            testcontainers_config.ryuk_disabled = True
        self.container = DockerContainer(image)
        # The method of the library would publish the port on every address of the machine.
        self.container.ports[f"{own_port}/tcp"] = ("127.0.0.1", port)  # type: ignore[assignment]
        self.container.with_command([*command])
        self._ready = is_ready
        self._is_created = False

    @property
    def process(self) -> ContainerProcess:
        return ContainerProcess(self.container.get_wrapped_container())

    def start(self) -> ContainerProcess:
        """Start the container with its previous data, if any, and wait until the server is ready."""
        if self._is_created:
            self.container.get_wrapped_container().start()
        else:
            self.container.start()
            self._is_created = True
        wait_until(
            self._ready,
            lambda: f"{self.container.image}\n{self.container.get_wrapped_container().logs().decode()}",
        )
        return self.process

    def stop(self) -> None:
        self.container.get_wrapped_container().stop(timeout=30)

    def delete_data(self) -> None:
        """Delete the data of the stopped server. `start` then starts an empty server."""
        self.container.stop()
        self._is_created = False

    remove = delete_data


class ContainerPostgres(ContainerServer):
    """PostgreSQL with the settings of compose."""

    def __init__(self, options: Sequence[str]) -> None:
        port = free_port()
        super().__init__(
            POSTGRES_IMAGE, port, network.POSTGRES_PORT, ["postgres", *options], self._accepts_connections
        )
        self.url = f"postgresql://issuetracker:{PASSWORD}@127.0.0.1:{port}/IssueTracker"
        self._port = port
        self.container.with_envs(POSTGRES_PASSWORD=PASSWORD, ISSUETRACKER_PASSWORD=PASSWORD)
        self.container.with_volume_mapping(ROOT / "deploy/k8s/base/postgres/init", "/docker-entrypoint-initdb.d")

    def connect(self, database: str) -> "psycopg2.extensions.connection":
        """Return a connection of the superuser."""
        return psycopg2.connect(
            host="127.0.0.1",
            port=self._port,
            user="postgres",
            password=PASSWORD,
            dbname=database,
            connect_timeout=5,
        )

    def _accepts_connections(self) -> bool:
        try:
            self.connect("IssueTracker").close()
        except psycopg2.OperationalError:
            return False
        return True


class ContainerRedis(ContainerServer):
    """Redis with an append-only file, without eviction, and with the users of the services."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        settings = ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
        command = ["redis-server", *settings, "--enable-debug-command", "yes"]
        command += ["--include", "/users.conf"]
        super().__init__(REDIS_IMAGE, self.port, network.REDIS_PORT, command, self._accepts_connections)
        self.container.with_volume_mapping(write_users(directory, self.port), "/users.conf")

    def _accepts_connections(self) -> bool:
        try:
            with redis.Redis(port=self.port, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
