"""The measurement of attacks continues when the API resets or refuses connections."""

import asyncio
import os
import socket
import struct
import time

import pytest

from benchmarks.attacks import Posts, Target, repeat, send_half_body
from tests.support.ports import free_port

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with a time of 0: a close sends a reset."""


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reset a connection."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()


async def measure(port: int) -> Posts:
    """Post while an attack runs."""
    target, posts = Target(port, os.getpid(), None), Posts()
    attack = asyncio.create_task(repeat(send_half_body, target, 0.01))
    await target.post(posts, time.perf_counter() + 0.2)
    assert not attack.done()
    attack.cancel()
    return posts


@pytest.mark.anyio
async def test_posts_on_reset_connections_count_as_failed() -> None:
    async with await asyncio.start_server(reset, "127.0.0.1", 0) as server:
        posts = await measure(server.sockets[0].getsockname()[1])

    assert posts.failed > 0
    assert posts.times == []


@pytest.mark.anyio
async def test_posts_to_closed_port_count_as_failed() -> None:
    posts = await measure(free_port())

    assert posts.failed > 0
    assert posts.times == []
