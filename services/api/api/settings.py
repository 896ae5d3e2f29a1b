"""The API's settings."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from contracts.settings import Settings

PER_TOKEN = 12_000
PER_ADDRESS = 300
"""Requests a minute where AUTH=on and no setting says otherwise."""
ADMIN_TOKEN_MIN = 32


def _origins(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _origin(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in {"http", "https"} or not url.netloc or value != f"{url.scheme}://{url.netloc}":
        raise ValueError("must be origins such as https://issues.example.org, separated by commas")
    return value


def _long_enough(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < ADMIN_TOKEN_MIN:
        raise ValueError(f"must have at least {ADMIN_TOKEN_MIN} characters; `make env` writes one")
    return value


Origin = Annotated[str, AfterValidator(_origin)]


class ApiSettings(Settings):
    """What the API reads besides the shared settings."""

    database_pool_size: int = Field(default=10, ge=2)
    """Connections that one API process holds at most."""
    dispatch_poll_seconds: float = Field(default=1, gt=0)
    """How often the dispatcher looks for due jobs that nobody woke it for."""
    dispatch_batch: int = Field(default=200, ge=1)
    """Jobs marked and published at a time."""
    queue_bound: int = Field(default=1000, ge=1)
    """Messages that may wait in one queue's Redis list; further due jobs wait in the ledger."""
    rejected_retry_seconds: float = Field(
        default=30, gt=0, validation_alias=AliasChoices("rejected_retry_seconds", "refused_retry_seconds")
    )
    """How soon a job is offered again that only a newer worker can run."""
    rejected_timeout_seconds: float = Field(
        default=86_400, gt=0, validation_alias=AliasChoices("rejected_timeout_seconds", "refused_patience_seconds")
    )
    """For how long it is offered, before it is dead.

    Release 0.1.0 calls the two settings REFUSED_RETRY_SECONDS and REFUSED_PATIENCE_SECONDS.
    The old names work for one more release.
    """
    reenrich_after_seconds: float = Field(default=5, ge=0, le=3600)
    """How long a changed text is left alone before it is enriched again: several changes in a row give one run."""
    retrain_after: int = Field(default=25, ge=0)
    """Newly confirmed issues of a project after which its models are learned anew; 0: only when asked."""
    max_body_bytes: int = Field(default=1024 * 1024, ge=1024)
    """The longest description is 64 Ki characters, up to 12 bytes each as JSON escapes."""
    import_max_bytes: int = Field(default=20 * 1024 * 1024, ge=1024)
    """The longest file of an import; while it is received its process holds it in memory."""
    auth: Literal["on", "off", "off-everywhere"] = "off"
    """`off` serves this machine alone; `off-everywhere` whoever reaches it."""
    admin_token: Annotated[SecretStr, AfterValidator(_long_enough)] | None = None
    """Lets an admin in who makes the first tokens; never stored."""
    rate_limit: int | None = Field(default=None, ge=0)
    """Requests a minute of one token; 0: no limit. None: PER_TOKEN where AUTH=on, else no limit."""
    rate_limit_address: int | None = Field(default=None, ge=0)
    """Of one address, of requests that no token stands for. None: PER_ADDRESS where AUTH=on, else no limit."""
    cors_origins: Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_origins)] = ()
    """Other pages that may call the API from a browser, with a token of their own."""

    @property
    def limits(self) -> tuple[int, int]:
        """Requests a minute of one token, and of one address; 0: no limit."""
        is_on = self.auth == "on"
        per_token = self.rate_limit if self.rate_limit is not None else PER_TOKEN * is_on
        per_address = self.rate_limit_address if self.rate_limit_address is not None else PER_ADDRESS * is_on
        return per_token, per_address
