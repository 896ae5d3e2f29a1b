"""The worker's settings."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, model_validator

from contracts.network import RESULT_DB
from contracts.settings import RedisUrl, Settings, load

DELIVERY_SECONDS = 15.0


def _http_url(value: str) -> str:
    try:
        url = urlsplit(value)
        usable = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable or url.username or url.password or url.query or url.fragment:
        raise ValueError("must be http(s)://host:port/path, without a user, a password or a query")
    return value


def _header_word(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]{1,4096}", value.get_secret_value()):
        raise ValueError("must be printable ASCII without spaces")
    return value


class WorkerSettings(Settings):
    """What the worker reads besides the shared settings."""

    celery_result_backend: RedisUrl | None = None
    """Where `celery-task-meta-<task_id>` is kept; the broker's server with database 1 unless it is set."""
    worker_concurrency: int = Field(default=2, ge=1)
    """Child processes of one worker; set explicitly, since a container's CPU quota does not change nproc."""
    task_soft_time_limit: float = Field(default=25, gt=0)
    """Seconds after which a task is told to end; it counts as a transient failure."""
    task_time_limit: float = Field(default=30, gt=0)
    """Seconds after which a task's process is killed."""
    circuit_threshold: int = Field(default=5, ge=1)
    """Failures of a provider in a row, by any worker, after which its jobs wait."""
    circuit_pause_seconds: float = Field(default=30, gt=0)
    """How long they wait before one of them tries the provider again."""
    history_days: int = Field(default=30, ge=1, le=36_500)
    """How long ended jobs are kept, and what else tells only of the past. An issue's runs are kept with it."""
    heartbeat_directory: Path | None = Field(
        default=None, validation_alias=AliasChoices("heartbeat_directory", "beat_directory")
    )
    """Where the worker leaves its signs of life for a probe, which its image sets; nowhere unless it is set."""

    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """Where the worker's main process answers Prometheus; nowhere unless it is set."""
    metrics_address: str = "127.0.0.1"
    """The address of that port; the image sets every one of its container's."""

    ai: Literal["suggest", "auto", "off"] = "auto"
    """What becomes of an enrichment: `auto` writes its tags onto the issue, `suggest` only beside it."""
    ai_provider: Literal["local", "openai"] = "local"
    """Who enriches. Nothing leaves this machine unless it is `openai`, at an address that the operator names."""
    openai_base_url: Annotated[str, AfterValidator(_http_url)] | None = None
    """An endpoint that speaks the OpenAI protocol, as in `http://127.0.0.1:8080/v1`."""
    openai_api_key: Annotated[SecretStr, AfterValidator(_header_word)] | None = None
    openai_model: str | None = Field(default=None, max_length=200)
    openai_timeout_seconds: float = Field(default=15, ge=1)
    """For an answer and its repair together; below the task's soft limit, which would lose both."""
    openai_max_input_bytes: int = Field(default=8192, ge=1024, le=262_144)
    """Of an issue's title and text, cleaned; the prompt comes on top."""
    openai_max_output_tokens: int = Field(default=300, ge=50, le=8192)
    openai_daily_tokens: int = Field(default=1_000_000, ge=0)
    """Of all workers together in one day (UTC); 0 counts without a limit."""
    openai_price_in: float | None = Field(default=None, ge=0)
    """Of a million prompt tokens; with the other price, each result tells its cost."""
    openai_price_out: float | None = Field(default=None, ge=0)
    """Of a million completion tokens."""

    webhook_timeout_seconds: float | None = Field(default=None, ge=1)
    """For one delivery, from looking up the name to the answer's status; below the task's soft limit."""

    @model_validator(mode="after")
    def _provider_is_complete(self) -> Self:
        if self.ai_provider == "openai":
            for name in ("openai_base_url", "openai_model"):
                if getattr(self, name) is None:
                    raise ValueError(f"{name.upper()} must be set where AI_PROVIDER is openai")
            if self.openai_timeout_seconds >= self.task_soft_time_limit:
                raise ValueError("OPENAI_TIMEOUT_SECONDS must be below TASK_SOFT_TIME_LIMIT")
        if (self.openai_price_in is None) != (self.openai_price_out is None):
            raise ValueError("OPENAI_PRICE_IN and OPENAI_PRICE_OUT must be set together")
        return self

    @model_validator(mode="after")
    def _delivery_fits_its_task(self) -> Self:
        if self.delivery_seconds >= self.task_soft_time_limit:
            raise ValueError("WEBHOOK_TIMEOUT_SECONDS must be below TASK_SOFT_TIME_LIMIT")
        return self

    @property
    def delivery_seconds(self) -> float:
        """How long one delivery may take; a short soft limit, set before there were webhooks, shortens it."""
        return self.webhook_timeout_seconds or min(DELIVERY_SECONDS, 0.6 * self.task_soft_time_limit)

    @property
    def result_backend(self) -> str:
        """The result backend's URL, derived from the broker's where it is not set."""
        if self.celery_result_backend is not None:
            return self.celery_result_backend
        return urlsplit(self.celery_broker_url)._replace(path=f"/{RESULT_DB}").geturl()


settings = load(WorkerSettings)
