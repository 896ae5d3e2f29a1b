"""The settings of `make run`, in addition to those of the services."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from contracts import network
from contracts.settings import Settings
from devstack.address import DatabaseAddress

ROOT = Path(__file__).parent.parent
LOCAL = Path(os.environ.get("LOCAL_DIR") or ROOT / ".local").absolute()
"""The directory of the servers' data."""

_LOOPBACK = {"127.0.0.1", "localhost"}


class DevSettings(Settings):
    """The ports of the local services. The ports of the servers are in their URLs."""

    model_config = SettingsConfigDict(env_file=ROOT / ".env")

    api_port: int = Field(default=network.API_PORT, ge=1, le=65535, description="Port of the page and the API.")
    flower_port: int = Field(default=network.FLOWER_PORT, ge=1, le=65535, description="Port of Flower.")
    exporter_port: int = Field(default=network.EXPORTER_PORT, ge=1, le=65535, description="Port of the exporter.")
    worker_metrics_port: int = Field(
        default=network.WORKER_METRICS_PORT, ge=1, le=65535, description="Port of the worker's metrics."
    )

    @model_validator(mode="after")
    def _require_local_servers(self) -> "DevSettings":
        for name, host in (
            ("DATABASE_URL", self.postgres.host),
            ("CELERY_BROKER_URL", urlsplit(self.celery_broker_url).hostname),
        ):
            if host not in _LOOPBACK:
                raise ValueError(
                    f"{name}: the host {host} is not this machine. `make run` starts its servers on 127.0.0.1. "
                    "To use other servers, start each service with its own command (docs/how-to/run-processes.md)"
                )
        return self

    @property
    def postgres(self) -> DatabaseAddress:
        """The host, port, role and database of DATABASE_URL."""
        return DatabaseAddress.parse(self.database_url)

    @property
    def valkey_port(self) -> int:
        """The port of Valkey."""
        return urlsplit(self.celery_broker_url).port or network.REDIS_PORT
