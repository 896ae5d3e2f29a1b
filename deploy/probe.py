"""The images' probe: says by its exit code whether a service is well, in hundredths of a second.

    python -I -S probe.py http PORT PATH      answers 200
    python -I -S probe.py fresh FILE SECONDS  was touched in the last so many seconds

It imports little and starts nothing: a probe runs every few seconds for ever, on every container.
"""

import os
import sys
import time

TIMEOUT_S = 5


def http(port: str, path: str) -> str:
    """Return what is wrong with the answer of a service in this container; an empty string when nothing is."""
    import socket  # noqa: PLC0415 - the other probe does without

    try:
        with socket.create_connection(("127.0.0.1", int(port)), TIMEOUT_S) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            status = connection.recv(64).partition(b"\r\n")[0].decode("latin-1")
    except OSError as error:
        return f"port {port}: {error}"
    return "" if status.split()[1:2] == ["200"] else f"{path}: {status or 'no answer'}"


def fresh(file: str, seconds: str) -> str:
    """Return what is wrong with a sign of life; an empty string when nothing is."""
    try:
        age = time.time() - os.stat(file).st_mtime  # noqa: PTH116 - pathlib alone costs more than all this
    except OSError as error:
        return f"{file}: {error.strerror}"
    return "" if age < float(seconds) else f"{file}: {age:.0f} s old"


if __name__ == "__main__":
    _, kind, subject, bound = sys.argv
    sys.exit({"http": http, "fresh": fresh}[kind](subject, bound) or 0)
