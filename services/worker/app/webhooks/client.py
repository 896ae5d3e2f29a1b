"""One request to a receiver: bounded in time, never redirected, its answer's body unread."""

import asyncio
from collections.abc import Mapping
from functools import cache
from ssl import SSLContext

import httpcore2

from app.ledger.errors import PermanentError, ProviderError
from app.retry_after import retry_after_s
from app.settings import settings
from app.webhooks.network import CheckedNetwork, PrivateAddress, UnknownHost
from contracts import VERSION

CONNECT_SECONDS = 5.0
USER_AGENT = f"IssueTracker/{VERSION}"

_TRY_AGAIN = {401, 403, 408, 425, 429}
"""401 and 403 too: a receiver that has not heard of a new secret yet."""
_FAULTS = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    httpcore2.UnsupportedProtocol,
)


def send(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str | None]:
    """POST the body; return the answer's status and its Retry-After. Of no other answer is anything read.

    Raises ProviderError where there is no answer, PermanentError where there is none to be had.
    """
    seconds = settings.delivery_seconds
    try:
        return _runner().run(asyncio.wait_for(_post(url, headers, body, seconds), seconds))
    except TimeoutError:
        raise ProviderError(f"no answer within {seconds:g} s") from None
    except PrivateAddress:
        detail = "the URL leads to a private address: set WEBHOOK_ALLOW where that is meant"
        raise PermanentError(detail) from None
    except UnknownHost:
        raise ProviderError("the URL's name leads to no address") from None
    except _FAULTS as error:
        # Its message has the address, and what the system or TLS says; a protocol's error quotes what was sent.
        detail = "" if isinstance(error, httpcore2.ProtocolError) else f": {error}"
        raise ProviderError(f"no answer: {type(error).__name__}{detail}") from None


def raise_for_status(status: int, retry_after: str | None) -> None:
    """Return where the receiver took the event; raise ProviderError where it may later, else PermanentError."""
    if 200 <= status < 300:
        return
    if status >= 500 or status in _TRY_AGAIN:
        raise ProviderError(f"status {status}", retry_after_s(retry_after))
    if 300 <= status < 400:
        raise PermanentError(f"status {status}: redirects are not followed")
    raise PermanentError(f"status {status}")


async def _post(url: str, headers: Mapping[str, str], body: bytes, seconds: float) -> tuple[int, str | None]:
    network = CheckedNetwork(settings.webhook_allow)
    limits = dict.fromkeys(("read", "write", "pool"), seconds) | {"connect": min(seconds, CONNECT_SECONDS)}
    sent = [("content-type", "application/json"), ("user-agent", USER_AGENT), *headers.items()]
    # A connection for each delivery: none is kept to an address that has been looked at long ago.
    async with (
        httpcore2.AsyncConnectionPool(_tls(), network_backend=network) as pool,
        pool.stream("POST", url, headers=sent, content=body, extensions={"timeout": limits}) as answer,
    ):
        found = next((value for name, value in answer.headers if name.lower() == b"retry-after"), None)
        return answer.status, None if found is None else found.decode("latin-1")


@cache
def _runner() -> asyncio.Runner:
    """Return this process's event loop: only what can be cancelled has an end that counts looking up a name."""
    return asyncio.Runner()


@cache
def _tls() -> SSLContext:
    return httpcore2.default_ssl_context()
