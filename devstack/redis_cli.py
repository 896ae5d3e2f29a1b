"""A small redis-cli for the broker of `make run`. The wheel of the server contains none."""

import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import redis

from devstack.process import ProcessFailed

with suppress(ImportError):
    import readline  # noqa: F401 - gives input() a history


def run(url: str, database: int | None, command: Sequence[str]) -> int:
    """Run the command, or without one those of standard input, and print the replies; return the exit code."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end silently if a pipe closes
    server = urlsplit(url)
    if database is not None:
        url = server._replace(path=f"/{database}").geturl()
    client = redis.Redis.from_url(url, retry=None, protocol=2, decode_responses=True, encoding_errors="replace")
    client.response_callbacks.clear()  # print replies as the server sends them
    try:
        if command:
            return _execute(client, command)
        prompt = f"{server.hostname}:{server.port}> " if sys.stdin.isatty() else ""
        with suppress(EOFError):
            while (line := input(prompt).strip()) not in {"exit", "quit"}:
                _execute_line(client, line)
    except redis.ConnectionError as error:
        raise ProcessFailed(f"{error} Start the server with `make run`.") from None
    return 0


def _execute_line(client: redis.Redis, line: str) -> None:
    try:
        words = shlex.split(line)
    except ValueError as error:
        print(f"(error) {error}")
        return
    if words:
        _execute(client, words)


def _execute(client: redis.Redis, command: Sequence[str]) -> int:
    try:
        reply = client.execute_command(*command)  # type: ignore[no-untyped-call]
    except redis.ResponseError as error:
        print(f"(error) {error}")
        return 1
    print("\n".join(format_reply(reply)))
    return 0


def format_reply(reply: Any) -> list[str]:
    """Return the lines of a reply. The items of an array are numbered."""
    if reply is None:
        return ["(nil)"]
    if isinstance(reply, int):
        return [f"(integer) {reply}"]
    if not isinstance(reply, list):
        return str(reply).splitlines() or [""]
    lines = []
    for number, item in enumerate(reply, 1):
        label = f"{number}) "
        first, *rest = format_reply(item)
        lines += [label + first, *(" " * len(label) + line for line in rest)]
    return lines or ["(empty array)"]
