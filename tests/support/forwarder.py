"""A loopback port that forwards TCP connections, as a DNS name or a virtual address leads to a server."""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from tests.support.ports import free_port
from tests.support.waiting import DEADLINE_S


class Forwarder:
    """Forwards each new connection to the current target. Open connections stay with their server."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._answers = asyncio.Event()
        self._answers.set()
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="forwarder", daemon=True)
        self._thread.start()
        self._run(self._listen())

    def lead_to(self, target: int) -> None:
        """Forward new connections to another port."""
        self._target = target

    def withhold_answers(self) -> None:
        """Forward nothing from the server to its clients until `cut`."""
        self._loop.call_soon_threadsafe(self._answers.clear)

    def cut(self) -> None:
        """Close all connections, without what was withheld. New connections are forwarded."""
        self._run(self._close_connections())
        self._loop.call_soon_threadsafe(self._answers.set)

    def close(self) -> None:
        """Close the port and all connections."""
        self._loop.call_soon_threadsafe(self._server.close)
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _close_connections(self) -> None:
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            to_client.transport.abort()
            return
        copies = [
            asyncio.create_task(_copy(client, to_server)),
            asyncio.create_task(self._copy_answers(server, to_client)),
        ]
        try:
            # The end of one side ends the other, as without a forwarder.
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for copy in copies:
                copy.cancel()
            to_server.close()
            to_client.close()

    async def _copy_answers(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await server.read(65536):
                await self._answers.wait()
                to_client.write(data)
                await to_client.drain()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
