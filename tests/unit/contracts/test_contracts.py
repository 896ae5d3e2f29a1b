"""Consistency of the contracts."""

import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from contracts import CONTRACT_VERSION
from contracts.ids import new_id
from contracts.messages import MESSAGE_OF, EnrichIssue
from contracts.names import QUEUE_OF, Task
from contracts.retry import RETRY_DELAYS, delay_after, max_attempts
from contracts.settings import Settings, load

ROOT = Path(__file__).parents[3]


def test_contract_version_equals_package_version() -> None:
    package = tomllib.loads((ROOT / "contracts/pyproject.toml").read_text())

    assert package["project"]["version"] == CONTRACT_VERSION


def test_every_task_has_queue_and_message() -> None:
    assert set(Task) == QUEUE_OF.keys() == MESSAGE_OF.keys()


def test_retry_delays_are_1_2_and_4_minutes() -> None:
    assert RETRY_DELAYS == (60, 120, 240)
    assert max_attempts(RETRY_DELAYS) == 4
    assert [delay_after(attempt, RETRY_DELAYS) for attempt in (1, 2, 3, 4)] == [
        timedelta(minutes=1),
        timedelta(minutes=2),
        timedelta(minutes=4),
        None,
    ]


def test_message_with_unknown_field_is_accepted() -> None:
    fields = {"contract_version": "1.9.0", "job_id": str(new_id()), "issue_id": str(new_id()), "new": 1}

    assert EnrichIssue.model_validate(fields).contract_version == "1.9.0"


@pytest.mark.parametrize("version", ["1", "1.0", "one", "1.0.0-rc1", ""])
def test_message_with_invalid_version_is_rejected(version: str) -> None:
    with pytest.raises(ValidationError, match="contract_version"):
        EnrichIssue.model_validate({"contract_version": version, "job_id": new_id(), "issue_id": new_id()})


def test_new_ids_are_version_7_and_sorted_by_creation() -> None:
    ids = [new_id() for _ in range(1000)]

    assert ids == sorted(ids)
    assert {created.version for created in ids} == {7}


@pytest.mark.parametrize(
    "url",
    ["postgresql+asyncpg://u:p%40@h:1/db", "postgresql+psycopg2://u:p%40@h:1/db", "postgres://u:p%40@h:1/db"],
)
def test_database_url_with_driver_loses_only_driver(url: str) -> None:
    assert Settings(database_url=url).database_url == "postgresql://u:p%40@h:1/db"


def test_database_url_with_reserved_characters_in_password_is_quoted() -> None:
    url = Settings(database_url="postgresql://u:/#?[@%:@[::1]:1/db?sslmode=require").database_url

    assert url == "postgresql://u:%2F%23%3F%5B%40%25%3A@[::1]:1/db?sslmode=require"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://h/db"),
        ("DATABASE_URL", "postgresql://u@h"),
        ("DATABASE_URL", "postgresql://h/db"),
        ("DATABASE_URL", "postgresql://u@h:x/db"),
        ("DATABASE_URL", "postgresql://u@h:/db"),
        ("DATABASE_URL", "nonsense"),
        ("CELERY_BROKER_URL", "amqp://h"),
        ("CELERY_BROKER_URL", "unix:///run/redis.sock"),
        ("CELERY_BROKER_URL", "redis://h:x/0"),
        ("CELERY_BROKER_URL", "redis:///0"),
        ("RETRY_DELAYS", "60,soon"),
        ("RETRY_DELAYS", "-1"),
        ("LEASE_SECONDS", "0"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_program_with_invalid_setting_prints_one_line_and_exits_with_2(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="2"):
        load(Settings)

    printed = capsys.readouterr().err
    assert printed.startswith(f"issuetracker: bad setting: {name}")
    assert printed.count("\n") == 1


def test_program_with_invalid_trace_endpoint_prints_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")
    with pytest.raises(SystemExit, match="2"):
        load(Settings)
    assert capsys.readouterr().err == (
        "issuetracker: bad setting: OTEL_EXPORTER_OTLP_ENDPOINT: The value must be http(s)://host:port. "
        "Correct it in the environment or in .env.\n"
    )


def test_credentials_file_is_setting_and_environment_overrides_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "DATABASE_URL").write_text("postgresql://u:file@h:1/db\n")
    (tmp_path / "CELERY_BROKER_URL").write_text("redis://file:1/0\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://environment:1/0")

    settings = load(Settings)

    assert settings.database_url == "postgresql://u:file@h:1/db"
    assert settings.celery_broker_url == "redis://environment:1/0"


@pytest.mark.parametrize("content", [None, b"\xff", b"nonsense"])
def test_unusable_credentials_print_one_line_and_exit_with_2(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "credentials"
    if content is not None:
        directory.mkdir()
        (directory / "DATABASE_URL").write_bytes(content)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))

    with pytest.raises(SystemExit, match="2"):
        load(Settings)

    (line,) = capsys.readouterr().err.splitlines()
    name = "DATABASE_URL: The value" if content == b"nonsense" else "CREDENTIALS_DIRECTORY: "
    assert line.startswith(f"issuetracker: bad setting: {name}")
