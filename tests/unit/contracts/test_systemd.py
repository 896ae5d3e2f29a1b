"""States reach a real socket of systemd's protocol, and nothing fails without one."""

from uuid import uuid4

import pytest

from contracts.systemd import READY, WATCHDOG, notify
from tests.support.notifications import Notifications, listen


def test_states_reach_socket_of_path(monkeypatch: pytest.MonkeyPatch) -> None:
    with listen() as systemd:
        monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
        notify(WATCHDOG)
        notify(READY)
        assert systemd.received() == ["WATCHDOG=1", "READY=1"]


def test_state_reaches_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    systemd = Notifications(f"@issuetracker-{uuid4()}")
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    notify(READY)
    assert systemd.received() == ["READY=1"]
    systemd.close()


@pytest.mark.parametrize(
    "address", [None, "", "/nowhere/notify", "/" + "long" * 50, "@nobody", "vsock:2:1", "notify"]
)
def test_state_without_socket_is_dropped(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    with listen() as systemd:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
        if address is not None:
            monkeypatch.setenv("NOTIFY_SOCKET", address)
        notify(READY)
        assert systemd.received() == []
