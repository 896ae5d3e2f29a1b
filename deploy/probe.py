"""The health check of the images. Its exit code shows whether a service is healthy.

    python -I -S probe.py http PORT PATH      the path returns 200
    python -I -S probe.py fresh FILE SECONDS  the file was touched within SECONDS seconds

It imports little, so that it takes only hundredths of a second: it runs every few seconds in every container.
"""

import os
import sys
import time

TIMEOUT_S = 5


def http(port: str, path: str) -> str:
    """Return the fault of a service in this container, or an empty string if it is healthy."""
    import socket  # noqa: PLC0415 - the other probe does not need it

    try:
        with socket.create_connection(("127.0.0.1", int(port)), TIMEOUT_S) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            status = connection.recv(64).partition(b"\r\n")[0].decode("latin-1")
    except OSError as error:
        return f"port {port}: {error}"
    return "" if status.split()[1:2] == ["200"] else f"{path}: {status or 'no response'}"


def fresh(file: str, seconds: str) -> str:
    """Return the fault of a heartbeat file, or an empty string if it is fresh."""
    try:
        age = time.time() - os.stat(file).st_mtime  # noqa: PTH116 - importing pathlib costs more than the rest
    except OSError as error:
        return f"{file}: {error.strerror}"
    return "" if age < float(seconds) else f"{file}: {age:.0f} s old"


if __name__ == "__main__":
    _, kind, subject, bound = sys.argv
    sys.exit({"http": http, "fresh": fresh}[kind](subject, bound) or 0)
