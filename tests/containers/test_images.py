"""Contents and configuration of the images."""

import json
import re
import shutil
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

from contracts import VERSION, network
from deploy.images import BASE, BUDGET_MB, ROOT, SERVICES, added_mb, build, inspect, tag, version
from tests.support.docker import docker, log, needs_images
from tests.support.waiting import wait_until

pytestmark = [needs_images(BASE), pytest.mark.xdist_group("images")]

SANDBOX_OPTIONS = ("--rm", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


@pytest.fixture(scope="session", params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    build(name)
    return name


def run_python(service: str, code: str) -> str:
    return docker("run", *SANDBOX_OPTIONS, tag(service), "python", "-c", code)


def test_image_size_is_within_budget(service: str) -> None:
    assert added_mb(service) <= BUDGET_MB[service]


def test_image_configuration_is_hardened(service: str) -> None:
    config = inspect(tag(service))["Config"]

    assert config["User"] == "10001:10001"
    assert "Healthcheck" not in config
    assert config["Entrypoint"] is None
    assert config["Cmd"][0] not in {"sh", "/bin/sh", "bash"}
    port = {"api": {f"{network.API_PORT}/tcp"}, "flower": {f"{network.FLOWER_PORT}/tcp"}, "worker": set()}
    assert set(config.get("ExposedPorts") or {}) == port[service]


def test_worker_image_heartbeat_directory_matches_probe() -> None:
    build("worker")
    assert f"HEARTBEAT_DIRECTORY={network.HEARTBEAT_DIRECTORY}" in inspect(tag("worker"))["Config"]["Env"]


def test_api_image_has_authentication_on_by_default() -> None:
    build("api")
    assert "AUTH=on" in inspect(tag("api"))["Config"]["Env"]


def test_image_has_labels(service: str) -> None:
    labels = inspect(tag(service))["Config"]["Labels"]

    assert labels["org.opencontainers.image.version"] == version()
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert len(labels["org.opencontainers.image.revision"]) == 40
    assert labels["org.opencontainers.image.title"].startswith("IssueTracker")


def test_versions_of_all_packages_are_equal() -> None:
    members = [*ROOT.glob("services/*/pyproject.toml"), ROOT / "cli/pyproject.toml"]
    assert {tomllib.loads(member.read_text())["project"]["version"] for member in members} == {version()}
    assert version() == VERSION


def test_image_as_process_1_stops_on_sigterm(service: str) -> None:
    """Kubernetes has no init process, unlike compose. No server is reachable in this test."""
    settings = ("CELERY_BROKER_URL=redis://127.0.0.1:1/0", "FLOWER_BASIC_AUTH=a:b", "LOG_FORMAT=json")
    environment = [f"--env={setting}" for setting in settings]
    name = docker("run", "--detach", "--read-only", "--tmpfs=/tmp", *environment, tag(service))
    started = {"api": "Uvicorn running", "worker": "Cannot connect to", "flower": "Visit me at"}[service]

    try:
        wait_until(lambda: started in log(name), lambda: f"{started}\n{log(name)}")
        docker("stop", "--time=60", name)
        assert docker("inspect", "--format={{.State.ExitCode}}", name) == "0"
        assert {json.loads(line)["service"] for line in log(name).splitlines()} == {service}, (
            "each line must be a JSON object of the service"
        )
    finally:
        docker("rm", "--force", name)


def test_image_is_read_only_and_has_no_capabilities(service: str) -> None:
    code = """if True:
        import errno, json, os, pathlib
        refused = []
        for path in ("/app/new", "/opt/venv/new", "/usr/local/bin/new", "/tmp/new"):
            try:
                pathlib.Path(path).touch()
            except OSError as error:
                refused.append(errno.errorcode[error.errno])
        status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
        print(json.dumps([os.getuid(), refused, status["CapEff"].strip(), status["NoNewPrivs"].strip()]))
    """
    uid, refused, capabilities, no_new_privileges = json.loads(run_python(service, code))

    assert uid == 10001
    assert set(refused) <= {"EROFS", "EACCES"}
    assert len(refused) == 4
    assert int(capabilities, 16) == 0
    assert no_new_privileges == "1"


def test_image_files_are_not_owned_by_its_user(service: str) -> None:
    owned = docker("run", *SANDBOX_OPTIONS, tag(service), "find", "/app", "/opt/venv", "-user", "10001")
    assert not owned


def test_image_contains_only_required_modules(service: str) -> None:
    unwanted_modules = {
        "api": ["celery", "kombu", "psycopg2", "numpy", "app"],
        "worker": ["fastapi", "starlette", "uvicorn", "asyncpg", "flower", "api"],
        "flower": ["fastapi", "sqlalchemy", "psycopg2", "asyncpg", "contracts", "app"],
    }
    code = f"""if True:
        import importlib.util, shutil
        modules = [name for name in {unwanted_modules[service]} if importlib.util.find_spec(name)]
        tools = [name for name in ("uv", "cc", "gcc", "make", "git") if shutil.which(name)]
        print(modules + tools)
    """
    assert run_python(service, code) == "[]"


def cached_steps(service: str, directory: Path) -> set[str]:
    """Build a service's image from a directory and return the steps of its Dockerfile that were not run again."""
    file = f"{directory}/services/{service}/Dockerfile"
    image_file = directory / "image"
    done = subprocess.run(
        ["docker", "build", "--progress=plain", f"--iidfile={image_file}", f"--file={file}", directory],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    docker("rmi", image_file.read_text())
    # The lines of steps that run at the same time alternate.
    cached = set(re.findall(r"^#(\d+) CACHED$", done.stderr, re.MULTILINE))
    steps = re.findall(r"^#(\d+) \[\S+ \d+/\d+\] (.+)$", done.stderr, re.MULTILINE)
    return {step for number, step in steps if number in cached}


def test_code_change_keeps_dependency_layer(service: str, tmp_path: Path) -> None:
    """The locked requirements get a comment, so that no step is shared with builds that run at the same time.

    The engine may remove its cache at any time, for example when the disk is nearly full: the first step, which
    depends on no file, shows whether it did. Then the image is built again.
    """
    for part in (".dockerignore", "contracts", "deploy/probe.py", "requirements", "services"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        (tmp_path / part).parent.mkdir(exist_ok=True)
        copy(ROOT / part, tmp_path / part)
    unique = f"# {tmp_path} {time.time_ns()}\n"
    for requirements in (tmp_path / "requirements").glob("*.txt"):
        requirements.write_text(requirements.read_text() + unique)
    cached_steps(service, tmp_path)
    for _ in range(3):
        for changed in ("contracts/src/contracts/names.py", "deploy/probe.py", "services/flower/flowerconfig.py"):
            with (tmp_path / changed).open("a") as file:
                file.write(unique)
        cached = cached_steps(service, tmp_path)
        if "WORKDIR /build" in cached:
            break

    assert any("uv pip install" in step and "requirements.txt" in step for step in cached), cached
    assert "COPY --from=build /opt/venv /opt/venv" in cached
    assert not any("deploy/probe.py" in step for step in cached)
