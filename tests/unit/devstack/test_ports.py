"""Ports of `make run` that cannot be opened: the message names the process and the setting."""

import os
import socket
from pathlib import Path

import pytest

from devstack.ports import check_ports, list_ports
from devstack.process import ProcessFailed
from devstack.settings import DevSettings
from tests.support.ports import free_port

OWNERS = {
    "DATABASE_URL": "PostgreSQL",
    "CELERY_BROKER_URL": "Valkey",
    "API_PORT": "the API",
    "FLOWER_PORT": "Flower",
    "EXPORTER_PORT": "the exporter",
    "WORKER_METRICS_PORT": "the worker's metrics",
}


@pytest.fixture
def ports() -> dict[str, int]:
    """Return a free port for each setting."""
    return {name: free_port() for name in OWNERS}


def check(ports: dict[str, int]) -> None:
    settings = {
        **ports,
        "DATABASE_URL": f"postgresql://issuetracker@localhost:{ports['DATABASE_URL']}/IssueTracker",
        "CELERY_BROKER_URL": f"redis://localhost:{ports['CELERY_BROKER_URL']}/0",
    }
    lower = {name.lower(): value for name, value in settings.items()}
    check_ports(list_ports(DevSettings.model_validate(lower), with_services=True))


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("name", OWNERS)
def test_port_in_use_names_process_and_setting(name: str, address: str, ports: dict[str, int]) -> None:
    with socket.create_server((address, ports[name])), pytest.raises(ProcessFailed) as failed:
        check(ports)

    assert str(failed.value) == (
        f"port {ports[name]} of {OWNERS[name]} is taken by another program. Stop that program, or set another "
        f"port in {name} (.env)."
    )


def test_port_set_twice_is_reported_with_both_settings(ports: dict[str, int]) -> None:
    ports["FLOWER_PORT"] = ports["API_PORT"]

    with pytest.raises(ProcessFailed, match=r"for the API \(API_PORT\) and for Flower \(FLOWER_PORT\)"):
        check(ports)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every port")
def test_port_of_root_is_reported(ports: dict[str, int]) -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first == 0:
        pytest.skip("every user may open every port on this machine")
    ports["API_PORT"] = first - 1

    with pytest.raises(ProcessFailed, match=r"of the API cannot be opened: Permission denied\. Set another port"):
        check(ports)
