"""Write docs/reference/settings.md from the settings classes: `make settings`.

Their descriptions are in the classes. This script orders them into sections.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from api.autoscaler.settings import AutoscalerSettings
from api.exporter.settings import ExporterSettings
from api.settings import ApiSettings
from app.settings import WorkerSettings
from contracts.settings import Settings
from devstack.settings import DevSettings

PAGE = Path(__file__).parents[1] / "docs/reference/settings.md"

HEAD = """\
# Settings

Set environment variables, lines of `.env`, or files in `CREDENTIALS_DIRECTORY`; the first wins. A bad setting ends
the program with exit code 2. Durations are in seconds, defaults in parentheses.
"""

COMMON = (
    *(
        "database_url",
        "celery_broker_url",
        "auth",
        "admin_token",
        "log_level",
        "worker_concurrency",
        "history_days",
        "deleted_days",
    ),
    *("ai", "ai_provider", "openai_base_url", "openai_model", "openai_api_key"),
)
ADVANCED = (
    "lease_seconds",
    "queue_bound",
    "project_running_max",
    "celery_result_backend",
    "heartbeat_directory",
)
LOCAL_NOTE = "For `make run`. Compose reads `API_PORT` and `FLOWER_PORT` too."
ADVANCED_NOTE = "Change these only for tests or after measurements."

LIBRARIES: dict[str, tuple[str, str]] = {
    "FORWARDED_ALLOW_IPS": ("127.0.0.1,::1", "Reverse proxies that the API trusts."),
    "FLOWER_ADDRESS": ("127.0.0.1", "Address of Flower. Others require a password."),
    "FLOWER_BASIC_AUTH": ("", "`user:password` of Flower."),
    "FLOWER_URL_PREFIX": ("", "Path of Flower behind a reverse proxy."),
    "ISSUETRACKER_URL": ("http://127.0.0.1:8000", "Target of Flower's links."),
}
"""Settings of libraries, which read them from the environment only: their default and description."""

COMPOSE: dict[str, tuple[str, str]] = {
    "FLOWER_USER": ("admin", "User of Flower."),
    "PROMETHEUS_PORT": ("9090", "Port of Prometheus."),
    "GRAFANA_PORT": ("3000", "Port of Grafana."),
    "API_DEV_PORT": ("8001", "Port of `api-dev`."),
    "DOCKER_CONTAINERS": ("/var/lib/docker/containers", "Directory of Alloy's log files."),
    "ISSUETRACKER_VERSION": ("local", "Tag of the project's images."),
    **{f"{name.upper()}_IMAGE": ("", "Image.") for name in ("Prometheus", "Grafana", "Loki", "Alloy")},
}
"""Variables of the compose files: their default and description."""


def page() -> str:
    """Return the page."""
    shared, api, worker = (cls.model_fields for cls in (Settings, ApiSettings, WorkerSettings))
    known = {
        **shared,
        **api,
        **worker,
        **ExporterSettings.model_fields,
        **AutoscalerSettings.model_fields,
        **DevSettings.model_fields,
    }
    # The worker's default, since the exporter serves metrics anyway.
    known["metrics_port"] = worker["metrics_port"]
    listed = {*COMMON, *ADVANCED}

    def rest(fields: Mapping[str, FieldInfo], *others: Mapping[str, FieldInfo]) -> Iterable[str]:
        """Return the fields that neither another section nor another class has."""
        return (name for name in fields if name not in listed and not any(name in other for other in others))

    sections = (
        ("Common", "", COMMON),
        ("API and worker", "", rest(shared)),
        ("API", "", rest(api, shared)),
        ("Worker", "", rest(worker, shared)),
        ("Autoscaler", "", rest(AutoscalerSettings.model_fields, shared, worker)),
        ("Local development", LOCAL_NOTE, rest(DevSettings.model_fields, shared)),
        ("Advanced", ADVANCED_NOTE, ADVANCED),
    )
    parts = [HEAD]
    for title, note, names in sections:
        entries = [_entry(name.upper(), _default(known[name]), _description(known[name])) for name in names]
        parts.append(_section(title, note, entries))
    for title, note, variables in (
        ("Libraries", "Read from the environment only.", LIBRARIES),
        ("Compose", "", COMPOSE),
    ):
        entries = [
            _entry(name, f"`{default}`" if default else "", text) for name, (default, text) in variables.items()
        ]
        parts.append(_section(title, note, entries))
    return "\n".join(parts)


def _section(title: str, note: str, entries: list[str]) -> str:
    intro = f"{note}\n\n" if note else ""
    return f"## {title}\n\n{intro}" + "".join(entries)


def _entry(name: str, default: str, description: str) -> str:
    return f"- `{name}`{f' ({default})' if default else ''}: {description}\n"


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if isinstance(value, tuple):
        value = ",".join(f"{part:g}" for part in value)
    return f"`{value}`" if value and isinstance(value, str | int | float) else ""


def _description(field: FieldInfo) -> str:
    if not field.description:
        raise SystemExit(f"settings_reference: a setting has no description: {field!r}")
    if not isinstance(field.validation_alias, AliasChoices):
        return field.description
    old = ", ".join(f"`{str(alias).upper()}`" for alias in field.validation_alias.choices[1:])
    return f"{field.description} Old name: {old}."


def main(arguments: list[str]) -> None:
    """Write the page; with `--check`, exit with code 1 if the page is not current."""
    text = page()
    if "--check" not in arguments:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        raise SystemExit("docs/reference/settings.md is not current: run `make settings`")


if __name__ == "__main__":
    main(sys.argv[1:])
