"""A renamed setting accepts its old name for one release."""

from pathlib import Path

import pytest

from app.settings import WorkerSettings


@pytest.mark.parametrize("name", ["HEARTBEAT_DIRECTORY", "BEAT_DIRECTORY"])
def test_heartbeat_directory_with_old_or_new_name_is_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "/a/directory")
    assert WorkerSettings().heartbeat_directory == Path("/a/directory")
