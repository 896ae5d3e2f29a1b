"""Sends one request to a receiver, with a time limit, without redirects and without reading the response body."""

import asyncio
from collections.abc import Mapping
from functools import cache
from ssl import SSLContext

import httpcore2

from app.ledger.errors import PermanentError, ProviderError
from app.retry_after import parse_retry_after
from app.settings import settings
from app.webhooks.network import CheckedNetwork, PrivateAddress, UnknownHost
from contracts import VERSION

CONNECT_SECONDS = 5.0
USER_AGENT = f"IssueTracker/{VERSION}"

_RETRYABLE_STATUSES = {401, 403, 408, 425, 429}
"""Includes 401 and 403, because the receiver may not have a new secret yet."""
_CONNECTION_ERRORS = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    httpcore2.UnsupportedProtocol,
)


def send(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str | None]:
    """POST the body; return the status of the response and its Retry-After header.

    Raises ProviderError if there is no response, and PermanentError if the address is not allowed.
    """
    seconds = settings.delivery_seconds
    try:
        return _runner().run(asyncio.wait_for(_post(url, headers, body, seconds), seconds))
    except TimeoutError:
        raise ProviderError(f"no response within {seconds:g} s") from None
    except PrivateAddress:
        detail = "the URL resolves to a private address. To allow it, add it to WEBHOOK_ALLOW"
        raise PermanentError(detail) from None
    except UnknownHost:
        raise ProviderError("the host of the URL cannot be resolved") from None
    except _CONNECTION_ERRORS as error:
        # The message contains the address and the error of the system or of TLS. A protocol error quotes the data.
        detail = "" if isinstance(error, httpcore2.ProtocolError) else f": {error}"
        raise ProviderError(f"no response: {type(error).__name__}{detail}") from None


def raise_for_status(status: int, retry_after: str | None) -> None:
    """Return if the receiver accepted the event; raise ProviderError if a retry may help, else PermanentError."""
    if 200 <= status < 300:
        return
    if status >= 500 or status in _RETRYABLE_STATUSES:
        raise ProviderError(f"status {status}", parse_retry_after(retry_after))
    if 300 <= status < 400:
        raise PermanentError(f"status {status}: redirects are not followed")
    raise PermanentError(f"status {status}")


async def _post(url: str, headers: Mapping[str, str], body: bytes, seconds: float) -> tuple[int, str | None]:
    network = CheckedNetwork(settings.webhook_allow)
    limits = dict.fromkeys(("read", "write", "pool"), seconds) | {"connect": min(seconds, CONNECT_SECONDS)}
    sent = [("content-type", "application/json"), ("user-agent", USER_AGENT), *headers.items()]
    # One connection per delivery, so that none is reused to an address that was checked long ago.
    async with (
        httpcore2.AsyncConnectionPool(_tls(), network_backend=network) as pool,
        pool.stream("POST", url, headers=sent, content=body, extensions={"timeout": limits}) as response,
    ):
        found = next((value for name, value in response.headers if name.lower() == b"retry-after"), None)
        return response.status, None if found is None else found.decode("latin-1")


@cache
def _runner() -> asyncio.Runner:
    """Return this process's event loop. Asynchronous code can be cancelled, also during the DNS lookup."""
    return asyncio.Runner()


@cache
def _tls() -> SSLContext:
    return httpcore2.default_ssl_context()
