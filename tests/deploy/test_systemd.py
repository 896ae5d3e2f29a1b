"""The units of deploy/systemd, checked by systemd's own tools. tests/containers/test_systemd.py runs them."""

import re
import subprocess
from pathlib import Path
from shutil import copytree, which

import pytest

from app.settings import WorkerSettings
from contracts import network
from contracts.names import Queue
from tests.support.processes import ROOT
from tests.support.waiting import DEADLINE_S

UNITS = ROOT / "deploy/systemd"
MAX_EXPOSURE = 20
"""In tenths, as the tool takes it: 2.0 of 10."""
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))

needs_systemd_analyze = pytest.mark.skipif(which("systemd-analyze") is None, reason="systemd-analyze is missing")


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the units with the paths of this clone, whose programs exist."""
    directory = tmp_path_factory.mktemp("units")
    copytree(UNITS, directory, dirs_exist_ok=True)
    for file in directory.glob("*.service"):
        file.write_text(file.read_text().replace("/opt/issuetracker", str(ROOT)))
    return directory


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )


@needs_systemd_analyze
def test_units_are_valid(units: Path) -> None:
    files = [path for path in units.iterdir() if path.suffix in {".service", ".socket", ".target"}]
    assert len(files) == len(SERVICES) + 2

    done = analyze("verify", *files)

    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd_analyze
@pytest.mark.parametrize("service", SERVICES)
def test_service_exposure_is_low(service: str, units: Path) -> None:
    done = analyze("security", "--offline=true", f"--threshold={MAX_EXPOSURE}", units / service)

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"exposure level for \S+: [\d.]+ OK", done.stdout)


def test_target_starts_worker_of_each_queue_with_metrics() -> None:
    target = (UNITS / "issuetracker.target").read_text()
    ports = [(UNITS / f"env/worker-{queue}.env").read_text().strip() for queue in Queue]

    assert set(re.findall(r"issuetracker-worker@(\w+)\.service", target)) == set(Queue)
    assert len(set(ports)) == len(Queue)
    assert f"METRICS_PORT={network.WORKER_METRICS_PORT}" in ports


def test_stop_timeout_of_worker_is_above_task_time_limit() -> None:
    unit = (UNITS / "issuetracker-worker@.service").read_text()
    supervisor = (ROOT / "deploy/supervisor/issuetracker.conf").read_text()
    limit = WorkerSettings.model_fields["task_time_limit"].default

    timeouts = re.findall(r"^TimeoutStopSec=(\d+)", unit, re.MULTILINE)
    waits = re.findall(r"celery -A(?:.*\n)*?stopwaitsecs=(\d+)", supervisor)
    assert len(timeouts) == 1
    assert len(waits) == len(Queue)
    assert all(int(seconds) >= limit + 15 for seconds in (*timeouts, *waits))


def test_units_and_files_of_guide_exist() -> None:
    guide = (ROOT / "docs/how-to/production.md").read_text()
    units = {path.stem for path in UNITS.iterdir()}
    files = {path.name for path in (UNITS / "env").iterdir()} | {"api.env", "exporter.env", "flower.env"}

    named = set(re.findall(r"\b(issuetracker-[a-z]+@?)", guide)) - {"issuetracker-worker@"}
    assert named
    assert named <= units
    assert {name.replace("QUEUE", "issues") for name in re.findall(r"\b([\w-]+\.env)\b", guide)} <= files


@pytest.mark.parametrize("url", ["", "127.0.0.1:6379", "redis://:password@127.0.0.1:6379/0", "http://127.0.0.1"])
def test_redis_users_with_invalid_url_exits_with_2_and_names_it(url: str) -> None:
    done = subprocess.run([UNITS / "redis-users", url], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert done.stderr == f'redis-users: The URL "{url}" is not valid. Use redis://HOST:PORT/0, without a user.\n'


def test_installer_outside_its_directory_names_the_directory() -> None:
    done = subprocess.run([UNITS / "install"], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert done.stderr == f"install: The units expect this clone in /opt/issuetracker, not in {ROOT}. Move it.\n"
