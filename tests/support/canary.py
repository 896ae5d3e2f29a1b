"""Searches everything that the product stores and logs for a word, in any encoding that it uses."""

import subprocess
from base64 import b64encode
from collections.abc import Callable

import redis

from devstack.postgres import find_program
from tests.support.servers import Log, Servers

DATABASES = range(16)
"""All databases of Redis."""


def find_tables(servers: Servers, word: str) -> set[str]:
    """Return the tables whose rows in a dump contain the word, as text, as bytes, or in base64."""
    dumped = subprocess.run(
        [find_program("pg_dump"), servers.database_url], capture_output=True, text=True, check=True
    ).stdout.lower()
    needles = _encodings(word)
    found, table = set(), "outside of any table"
    for line in dumped.splitlines():
        if line.startswith("copy public."):
            table = line.removeprefix("copy public.").split()[0]
        if any(needle in line for needle in needles):
            found.add(table)
    return found


def find_keys(servers: Servers, word: str) -> set[str]:
    """Return the keys of Redis that contain the word in their name or value."""
    found = set()
    for number in DATABASES:
        with redis.Redis(port=servers.redis_port, db=number) as client:
            for key in client.scan_iter():
                shown = f"{key!r} {_READ[client.type(key)](client, key)!r}".lower()
                if any(needle in shown for needle in _encodings(word)):
                    found.add(f"{number}: {key!r}")
    return found


def find_log_lines(word: str, *logs: Log) -> list[str]:
    """Return the log lines that contain the word."""
    return [line for log in logs for line in log.lines if word in line.lower()]


_READ: dict[bytes, Callable[[redis.Redis, bytes], object]] = {
    b"string": lambda client, key: client.get(key),
    b"list": lambda client, key: client.lrange(key, 0, -1),
    b"set": lambda client, key: client.smembers(key),
    b"zset": lambda client, key: client.zrange(key, 0, -1),
    b"hash": lambda client, key: client.hgetall(key),
    b"stream": lambda client, key: client.xrange(key),
    b"none": lambda _client, _key: None,  # it has expired
}
"""How to read a value of each type. An unknown type is an error."""


def _encodings(word: str) -> set[str]:
    """Return the word as text, hexadecimal (bytea of a dump), base64 at any offset, and that in hexadecimal."""
    encoded = {_base64(form, offset) for form in (word, word.capitalize()) for offset in range(3)}
    hexadecimal = {part.encode().hex() for part in {word, word.capitalize(), *encoded}}
    return {word, *hexadecimal, *(part.lower() for part in encoded)}


def _base64(word: str, offset: int) -> str:
    """Return the characters of the base64 encoding that depend only on the word."""
    encoded = b64encode(b" " * offset + word.encode()).decode().rstrip("=")
    first = (8 * offset + 5) // 6
    last = (8 * (offset + len(word))) // 6
    return encoded[first:last]
