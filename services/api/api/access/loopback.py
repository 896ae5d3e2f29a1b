"""Restrict an API without authentication to this machine, at startup and at each request."""

import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import NoReturn

from starlette.types import Scope
from uvicorn.main import main as uvicorn_command

NEXT_STEP = (
    "Set AUTH=on and ADMIN_TOKEN, or AUTH=off-everywhere to give everyone who reaches this address full access"
)

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


def require_loopback_listener(argv: Sequence[str]) -> None:
    """Exit with one line and code 2 if uvicorn's command line listens on an address other machines can reach.

    For other ASGI servers, `explain_remote_request` checks each request.
    """
    program = Path(argv[0])
    if program.name != "uvicorn" and program.parts[-2:] != ("uvicorn", "__main__.py"):
        return
    # uvicorn's own parser also handles UVICORN_HOST and abbreviations.
    options = uvicorn_command.make_context("uvicorn", [*argv[1:]], resilient_parsing=True).params
    if options["uds"] is not None:
        _exit(f"the socket {options['uds']}")
    elif options["fd"] is None and not is_loopback(options["host"]):
        _exit(options["host"])


def _exit(listener: str) -> NoReturn:
    print(
        f"issuetracker: AUTH=off serves only 127.0.0.1, but uvicorn listens on {listener}. {NEXT_STEP}.",
        file=sys.stderr,
    )
    sys.exit(2)


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Return whether a host name or address is a loopback address of this machine.

    Results are cached, because each request checks two hosts, and parsing took a sixteenth of the cost of a POST.
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def explain_remote_request(scope: Scope, headers: Mapping[str, str]) -> str | None:
    """Return why a request may come from another machine, or None if it comes from this one.

    The server address of the connection must be a loopback address. A reverse proxy on this machine is detected by
    its forwarding headers, or by the Host header. The latter also stops DNS rebinding, in which the host name of a
    page resolves to 127.0.0.1.
    """
    server = scope.get("server")
    if server is None or not is_loopback(server[0]):
        return f"the request arrived at {server[0] if server else 'a socket'}"
    for name in _FORWARDED:
        if name in headers:
            return f"a proxy forwarded the request (header {name})"
    host = _host_name(headers.get("host", ""))
    return None if is_loopback(host) else f"the request is for the host {host or '(none)'}"


def _host_name(host: str) -> str:
    """Return a Host header without its port: `[::1]:8000` is `::1`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
