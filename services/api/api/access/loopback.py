"""Keeps an API without authentication on this machine: when it starts, and at each request."""

import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import NoReturn

from starlette.types import Scope
from uvicorn.main import main as uvicorn_command

WHAT_TO_DO = (
    "set AUTH=on and ADMIN_TOKEN, or, if whoever reaches this address may change everything, AUTH=off-everywhere"
)

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


def refuse_open_listener(argv: Sequence[str]) -> None:
    """End the program with one line and exit code 2 where uvicorn's command line has it listen to other machines.

    Whatever else starts the application is found out by `outside_reason`, request by request.
    """
    program = Path(argv[0])
    if program.name != "uvicorn" and program.parts[-2:] != ("uvicorn", "__main__.py"):
        return
    # uvicorn's own parser, so that UVICORN_HOST and abbreviations count as they do there.
    options = uvicorn_command.make_context("uvicorn", [*argv[1:]], resilient_parsing=True).params
    if options["uds"] is not None:
        _refuse(f"the socket {options['uds']}")
    elif options["fd"] is None and not is_loopback(options["host"]):
        _refuse(options["host"])


def _refuse(listener: str) -> NoReturn:
    print(
        f"issuetracker: AUTH=off answers only on 127.0.0.1, and this listens on {listener}: {WHAT_TO_DO}",
        file=sys.stderr,
    )
    sys.exit(2)


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Tell whether a host's name or address is this machine and reached from nowhere else.

    The last answers are kept: each request asks twice, and parsing was a sixteenth of what a POST costs.
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def outside_reason(scope: Scope, headers: Mapping[str, str]) -> str | None:
    """Return why a request may come from another machine; None where it comes from this one.

    The connection's own address tells how it came in. A reverse proxy on this machine would hide where from, but
    it says so in a header, or names the host that it was asked for; the latter also stops a page that has its own
    name resolve to 127.0.0.1 (DNS rebinding).
    """
    server = scope.get("server")
    if server is None or not is_loopback(server[0]):
        return f"the request came in at {server[0] if server else 'a socket'}"
    for name in _FORWARDED:
        if name in headers:
            return f"a proxy has passed the request on ({name})"
    host = _host_name(headers.get("host", ""))
    return None if is_loopback(host) else f"the request is for the host {host or 'of no name'}"


def _host_name(host: str) -> str:
    """Return a Host header without its port: `[::1]:8000` is `::1`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
