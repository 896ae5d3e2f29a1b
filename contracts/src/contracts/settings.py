"""Settings that every service reads by the same names from the environment, `.env` files and files of secrets."""

import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import SplitResult, quote, unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from contracts import network
from contracts.redis_url import normalize_redis_url
from contracts.retry import RETRY_DELAYS
from contracts.validation import describe_error
from contracts.webhook_secrets import WebhookSecrets, check_key
from contracts.webhook_targets import AllowedTargets

SettingsT = TypeVar("SettingsT", bound="Settings")

HTTP = frozenset({"http", "https"})


def split_commas(value: object) -> object:
    """Split the text of a setting at its commas; return any other value unchanged."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def split_url(value: str, schemes: Collection[str]) -> SplitResult | None:
    """Split a URL; return None unless it has one of the schemes, a host, and a valid port or none."""
    try:
        url = urlsplit(value)
        is_valid = url.scheme in schemes and bool(url.hostname) and url.port != 0
    except ValueError:
        is_valid = False
    return url if is_valid else None


def _normalize_database_url(value: str) -> str:
    scheme, _, rest = value.partition("://")
    # A password may contain "/", "#" or "?", which urlsplit takes for the end of the host.
    credentials, _, location = rest.rpartition("@")
    user, colon, password = credentials.partition(":")
    try:
        url = urlsplit(f"postgresql://{location}")
        usable = bool(user and url.path.strip("/")) and url.port != 0 and not url.netloc.endswith(":")
    except ValueError:
        usable = False
    if not usable or scheme.partition("+")[0] not in {"postgresql", "postgres"}:
        raise ValueError("must be postgresql://user:password@host:port/database")
    return f"postgresql://{_quote(user)}{colon}{_quote(password)}@{location}"


def _quote(text: str) -> str:
    return quote(unquote(text), safe="")


def _check_http_base_url(value: str) -> str:
    if split_url(value, HTTP) is None:
        raise ValueError("must be http(s)://host:port")
    return value


def _check_secret_key(value: SecretStr) -> SecretStr:
    check_key(value.get_secret_value())
    return value


RedisUrl = Annotated[str, AfterValidator(normalize_redis_url)]


def _env_files() -> tuple[Path, ...]:
    here = Path.cwd()
    return (here.parents[1] / ".env", here / ".env") if here.parent.name == "services" else (here / ".env",)


class Settings(BaseSettings):
    """The settings that services share; each adds its own in a subclass.

    They are read from `.env` in the working directory and, if that is a service's directory, from `.env` in the
    project's root. The environment overrides both. Last come the files of CREDENTIALS_DIRECTORY, which are named
    like the settings: the secrets of compose, and the credentials of systemd.
    """

    model_config = SettingsConfigDict(env_file=_env_files(), env_ignore_empty=True, extra="ignore", frozen=True)

    database_url: Annotated[str, AfterValidator(_normalize_database_url)] = Field(
        default=f"postgresql://issuetracker@127.0.0.1:{network.POSTGRES_PORT}/IssueTracker",
        description="URL of PostgreSQL.",
    )
    celery_broker_url: RedisUrl = Field(
        default=f"redis://localhost:{network.REDIS_PORT}/{network.BROKER_DB}",
        description="URL of Redis or Valkey; `rediss://` with TLS.",
    )
    lease_seconds: float = Field(default=20, gt=0, description="Duration of a lease.")
    retry_delays: Annotated[tuple[Annotated[float, Field(ge=0)], ...], NoDecode, BeforeValidator(split_commas)] = (
        Field(
            default=RETRY_DELAYS,
            description="Delays before the retries, one each, separated by commas.",
        )
    )
    project_running_max: int | None = Field(
        default=None,
        ge=1,
        description="Maximum published and running jobs of a project without a limit of its own.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="`DEBUG`, `INFO`, `WARNING` or `ERROR`. Overrides the worker's `--loglevel`."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto", description="`console`, `json`, or `auto`: text on a terminal, JSON elsewhere."
    )
    webhook_allow: Annotated[AllowedTargets, NoDecode, BeforeValidator(AllowedTargets.parse)] = Field(
        default=AllowedTargets(),
        description="Private networks, addresses and hosts that webhooks may call, separated by commas.",
    )
    secret_keys: Annotated[
        tuple[Annotated[SecretStr, AfterValidator(_check_secret_key)], ...],
        NoDecode,
        BeforeValidator(split_commas),
    ] = Field(
        default=(),
        description="Keys that encrypt webhook secrets in the database, separated by commas. The first encrypts.",
    )
    otel_exporter_otlp_endpoint: Annotated[str, AfterValidator(_check_http_base_url)] | None = Field(
        default=None, description="URL of an OTLP/HTTP receiver. Enables tracing."
    )

    @property
    def webhook_secrets(self) -> WebhookSecrets:
        """The encryption of webhook secrets with these keys."""
        return WebhookSecrets([key.get_secret_value() for key in self.secret_keys])


class ConcurrencySettings(Settings):
    """The shared settings, and the one that the worker and the autoscaler share."""

    # A container's CPU quota does not change the number of processors that Celery would take.
    worker_concurrency: int = Field(default=2, ge=1, description="Processes of one worker.")


def load(cls: type[SettingsT]) -> SettingsT:
    """Read the settings. If one is not valid, print one line that names it and the rule, and exit with code 2."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY") or None
    try:
        if directory is not None:
            next(Path(directory).iterdir(), None)  # the library only warns if the directory is missing
        return cls(_secrets_dir=directory)
    except (OSError, SettingsError) as error:
        faults = f"CREDENTIALS_DIRECTORY: {error.__cause__ or error}."
    except ValidationError as error:
        faults = " ".join(map(_describe, error.errors(include_url=False)))
    print(f"issuetracker: bad setting: {faults} Correct it in the environment or in .env.", file=sys.stderr)
    raise SystemExit(2)


def _describe(error: ErrorDetails) -> str:
    name = ".".join(str(part) for part in error["loc"]).upper()
    return ": ".join(filter(None, (name, describe_error(error))))
