"""The worker's settings."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, model_validator

from contracts.network import RESULT_DB
from contracts.settings import HTTP, ConcurrencySettings, RedisUrl, load, split_url

DELIVERY_SECONDS = 15.0


def _check_http_url(value: str) -> str:
    url = split_url(value, HTTP)
    if url is None or url.username or url.password or url.query or url.fragment:
        raise ValueError("must be http(s)://host:port/path, without a user, a password or a query")
    return value


def _check_header_value(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]{1,4096}", value.get_secret_value()):
        raise ValueError("must be printable ASCII without spaces")
    return value


class WorkerSettings(ConcurrencySettings):
    """The settings of the worker, besides the shared ones."""

    celery_result_backend: RedisUrl | None = Field(
        default=None, description="URL of Celery's results. The default is database 1 of the broker."
    )
    task_soft_time_limit: float = Field(default=25, gt=0, description="Time until a task is interrupted.")
    task_time_limit: float = Field(default=30, gt=0, description="Time until a task's process is killed.")
    history_days: int = Field(
        default=30, ge=1, le=36_500, description="Retention of ended jobs, deliveries and imports."
    )
    deleted_days: int = Field(default=30, ge=1, le=36_500, description="Days until a deleted issue is erased.")
    heartbeat_directory: Path | None = Field(
        default=None,
        validation_alias=AliasChoices("heartbeat_directory", "beat_directory"),
        description="Directory of the heartbeat files. The image sets `/tmp`.",
    )

    metrics_port: int | None = Field(
        default=None, ge=1, le=65535, description="Port of the worker's metrics. The exporter's default is 9808."
    )
    metrics_address: str = Field(
        default="127.0.0.1", description="Address of that port. The images set `0.0.0.0`."
    )

    ai: Literal["suggest", "auto", "off"] = Field(
        default="auto",
        description="`auto` writes suggested tags onto the issue, `suggest` stores them, `off` disables runs.",
    )
    ai_provider: Literal["local", "openai"] = Field(
        default="local", description="`local`, or `openai` for a server with the OpenAI protocol."
    )
    openai_base_url: Annotated[str, AfterValidator(_check_http_url)] | None = Field(
        default=None, description="URL of that server, for example `http://127.0.0.1:8080/v1`."
    )
    openai_model: str | None = Field(default=None, max_length=200, description="Model of that server.")
    openai_api_key: Annotated[SecretStr, AfterValidator(_check_header_value)] | None = Field(
        default=None, description="API key, if the server requires one."
    )
    openai_timeout_seconds: float = Field(
        default=15,
        ge=1,
        description="Timeout of a request and its repair; below `TASK_SOFT_TIME_LIMIT`.",
    )
    openai_max_input_bytes: int = Field(
        default=8192, ge=1024, le=262_144, description="Maximum size of the issue's text in a request."
    )
    openai_max_output_tokens: int = Field(default=300, ge=50, le=8192, description="Maximum tokens in a response.")
    openai_daily_tokens: int = Field(
        default=1_000_000, ge=0, description="Token budget of all workers per day (UTC). 0: unlimited."
    )
    openai_price_in: float | None = Field(
        default=None, ge=0, description="Price per million prompt tokens, for cost reporting."
    )
    openai_price_out: float | None = Field(default=None, ge=0, description="Price per million completion tokens.")

    webhook_timeout_seconds: float | None = Field(
        default=None,
        ge=1,
        description=f"Timeout of a delivery; {DELIVERY_SECONDS:.0f}, or 0.6 of a shorter `TASK_SOFT_TIME_LIMIT`.",
    )

    @model_validator(mode="after")
    def _require_complete_provider(self) -> Self:
        if self.ai_provider == "openai":
            for name in ("openai_base_url", "openai_model"):
                if getattr(self, name) is None:
                    raise ValueError(f"{name.upper()} must be set if AI_PROVIDER is openai")
            if self.openai_timeout_seconds >= self.task_soft_time_limit:
                raise ValueError("OPENAI_TIMEOUT_SECONDS must be below TASK_SOFT_TIME_LIMIT")
        if (self.openai_price_in is None) != (self.openai_price_out is None):
            raise ValueError("OPENAI_PRICE_IN and OPENAI_PRICE_OUT must be set together")
        return self

    @model_validator(mode="after")
    def _require_delivery_below_task_limit(self) -> Self:
        if self.delivery_seconds >= self.task_soft_time_limit:
            raise ValueError("WEBHOOK_TIMEOUT_SECONDS must be below TASK_SOFT_TIME_LIMIT")
        return self

    @property
    def delivery_seconds(self) -> float:
        """The timeout of a delivery in seconds. It is always below the soft time limit of the task."""
        return self.webhook_timeout_seconds or min(DELIVERY_SECONDS, 0.6 * self.task_soft_time_limit)

    @property
    def result_backend(self) -> str:
        """The URL of the result backend. If it is not set, it is derived from the broker's URL."""
        if self.celery_result_backend is not None:
            return self.celery_result_backend
        return urlsplit(self.celery_broker_url)._replace(path=f"/{RESULT_DB}").geturl()


settings = load(WorkerSettings)
