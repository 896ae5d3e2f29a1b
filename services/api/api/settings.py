"""The API's settings."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from contracts.settings import Settings, split_commas

PER_TOKEN = 12_000
PER_ADDRESS = 300
"""Default limits with AUTH=on, in requests per minute."""
ADMIN_TOKEN_MIN = 32
MAX_BODY_BYTES = 1024 * 1024
"""The longest description has 64 Ki characters of up to 12 bytes each as JSON escapes."""


def _check_origin(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in {"http", "https"} or not url.netloc or value != f"{url.scheme}://{url.netloc}":
        raise ValueError("must be origins such as https://issues.example.org, separated by commas")
    return value


def _check_length(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < ADMIN_TOKEN_MIN:
        raise ValueError(f"must have at least {ADMIN_TOKEN_MIN} characters. Run `make env` to generate one")
    return value


Origin = Annotated[str, AfterValidator(_check_origin)]


class ApiSettings(Settings):
    """The settings of the API, besides the shared ones."""

    database_pool_size: int = Field(default=10, ge=2, description="Maximum database connections per API process.")
    queue_bound: int = Field(
        default=16,
        ge=1,
        description="Messages in a queue per API process while no worker is known. Else: two per worker process.",
    )
    reenrich_after_seconds: float = Field(
        default=5,
        ge=0,
        le=3600,
        description="Delay of a run after the last change of a text.",
    )
    retrain_after: int = Field(
        default=25,
        ge=0,
        description="Newly confirmed issues that start a training. 0: only on request.",
    )
    import_max_bytes: int = Field(
        default=20 * 1024 * 1024,
        ge=1024,
        description="Maximum size of an imported file, unpacked, in memory.",
    )
    auth: Literal["on", "off", "off-everywhere"] = Field(
        default="off",
        description="`on` requires a token. `off` serves loopback only, `off-everywhere` all without "
        "authentication. The image sets `on`.",
    )
    admin_token: Annotated[SecretStr, AfterValidator(_check_length)] | None = Field(
        default=None, description="Bootstrap admin token, at least 32 characters. `make env` generates one."
    )
    rate_limit: int | None = Field(
        default=None,
        ge=0,
        description=f"Requests per minute and token; {PER_TOKEN} with `AUTH=on`. 0: unlimited.",
    )
    rate_limit_address: int | None = Field(
        default=None,
        ge=0,
        description=f"Failed authentications per minute and address; {PER_ADDRESS} with `AUTH=on`. 0: unlimited.",
    )
    cors_origins: Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(split_commas)] = Field(
        default=(),
        description="Origins of other sites that may call the API.",
    )

    connections_max: int = Field(default=2000, ge=10, description="Maximum open connections per API process.")
    head_max_bytes: int = Field(
        default=32 * 1024, ge=1024, description="Maximum size of a request's line and headers."
    )
    head_seconds: float = Field(
        default=10, gt=0, description="Maximum time to receive a request's line and headers."
    )
    body_bytes_per_second: int = Field(
        default=1024, ge=0, description="Minimum rate of a body and of a response, over 10 and 30 seconds."
    )
    unread_seconds: float = Field(
        default=30, gt=0, description="Time until a client that reads no response is dropped."
    )

    @property
    def limits(self) -> tuple[int, int]:
        """Requests per minute of one token and of one address; 0 is unlimited."""
        is_on = self.auth == "on"
        per_token = self.rate_limit if self.rate_limit is not None else PER_TOKEN * is_on
        per_address = self.rate_limit_address if self.rate_limit_address is not None else PER_ADDRESS * is_on
        return per_token, per_address
