"""Checks the ports of `make run` before anything starts."""

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from devstack.process import ProcessFailed
from devstack.settings import DevSettings


@dataclass(frozen=True)
class Port:
    """A port on the loopback interface, the process that listens on it, and the setting that changes it."""

    number: int
    owner: str
    setting: str


def list_ports(settings: DevSettings, *, with_services: bool) -> list[Port]:
    """Return the ports of the servers, and of the services if they are started too."""
    assert settings.postgres.port is not None
    servers = [
        Port(settings.postgres.port, "PostgreSQL", "DATABASE_URL"),
        Port(settings.valkey_port, "Valkey", "CELERY_BROKER_URL"),
    ]
    services = [
        Port(settings.api_port, "the API", "API_PORT"),
        Port(settings.flower_port, "Flower", "FLOWER_PORT"),
        Port(settings.exporter_port, "the exporter", "EXPORTER_PORT"),
        Port(settings.worker_metrics_port, "the worker's metrics", "WORKER_METRICS_PORT"),
    ]
    return servers + services if with_services else servers


def check_ports(ports: Sequence[Port]) -> None:
    """Raise ProcessFailed for the first port that cannot be opened or that two processes share."""
    owners: dict[int, Port] = {}
    for port in ports:
        if first := owners.get(port.number):
            raise ProcessFailed(
                f"port {port.number} is set for {first.owner} ({first.setting}) and for {port.owner} "
                f"({port.setting}). Set different ports (.env)."
            )
        owners[port.number] = port
        _check(port)


def _check(port: Port) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port.number))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                problem = "is taken by another program. Stop that program, or set"
            else:
                problem = f"cannot be opened: {error.strerror}. Set"
            raise ProcessFailed(
                f"port {port.number} of {port.owner} {problem} another port in {port.setting} (.env)."
            ) from None
