"""Measure POSTs and the memory of an API before, during and after each attack.

    python -m benchmarks.attacks PORT PID [--token TOKEN] [--seconds 20]

PID is the API's process; those that it has started count too. The API may be one of `make run` or a container
(`docker inspect --format '{{.State.Pid}}' NAME`). One client posts, each request after the last response. A POST
that is refused or gets no response counts as failed. Of the attacks, only the streams use the token.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field

import psutil
import uvloop

HOST = "127.0.0.1"
TIMEOUT_S = 60
REST_S = 2
"""Pause before and after an attack."""
ENDED = (OSError, asyncio.IncompleteReadError)
"""Errors of a connection that the API refuses, resets or ends."""
_POST = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
_ISSUE = b'{"title": "Login button not working"}'
_KEYS = json.dumps({f"key{number}": 0 for number in range(110_000)}).encode()


@dataclass
class Posts:
    """The POSTs of one phase."""

    times: list[float] = field(default_factory=list)
    """Seconds of each accepted POST."""
    failed: int = 0

    def describe(self) -> str:
        """Return count, failed ones, median and 99th percentile in milliseconds."""
        times = sorted(self.times)
        if not times:
            return f"     0 {self.failed:6}        -        -"
        p50, p99 = statistics.median(times) * 1000, times[len(times) * 99 // 100] * 1000
        return f"{len(times):6} {self.failed:6} {p50:8.1f} {p99:8.1f}"


class Target:
    """An API to attack."""

    def __init__(self, port: int, pid: int, token: str | None) -> None:
        self.port = port
        self._process = psutil.Process(pid)
        self.authorization = b"" if token is None else b"Authorization: Bearer " + token.encode() + b"\r\n"

    def memory_mb(self) -> float:
        """Return the resident memory of the API's processes."""
        processes = [self._process, *self._process.children(recursive=True)]
        return float(sum(process.memory_info().rss for process in processes)) / 1e6

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Open a connection; raise one of ENDED if the API ends it."""
        reader, writer = await asyncio.open_connection(HOST, self.port, limit=2**16)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def post(self, posts: Posts, until: float) -> None:
        """Post issues until then."""
        while time.perf_counter() < until:
            before = len(posts.times)
            with contextlib.suppress(*ENDED):
                async with self.connect() as (reader, writer):
                    await self._post_on(reader, writer, posts, until)
            posts.failed += len(posts.times) == before
            await asyncio.sleep(0.01)

    async def _post_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, posts: Posts, until: float
    ) -> None:
        while (began := time.perf_counter()) < until:
            writer.write(_POST % (b"/api/v1/issues", len(_ISSUE)) + self.authorization + b"\r\n" + _ISSUE)
            async with asyncio.timeout(TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                await reader.readexactly(int(lengths[0][15:]))
            if not head.startswith(b"HTTP/1.1 201"):
                posts.failed += 1
                return
            posts.times.append(time.perf_counter() - began)


async def send_slow_head(target: Target) -> None:
    """Send a byte of a header per second (slowloris)."""
    async with target.connect() as (_, writer):
        writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(1)


async def send_half_body(target: Target) -> None:
    """Send half of a body of 1 MB."""
    async with target.connect() as (reader, writer):
        writer.write(_POST % (b"/api/v1/issues", 1_000_000) + b"\r\n" + b" " * 500_000)
        await writer.drain()
        await reader.read()


async def send_endless_head(target: Target) -> None:
    """Send a header of 40 MB."""
    async with target.connect() as (_, writer):
        writer.write(b"GET / HTTP/1.1\r\nX-Long: ")
        for _ in range(40_000_000 // 65_536):
            if writer.is_closing():
                break
            writer.write(b"x" * 65_536)
            await writer.drain()


async def read_nothing(target: Target) -> None:
    """Request the OpenAPI document 200 times and read no response."""
    async with target.connect() as (_, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined] # the transport of a socket
        writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 200)
        await asyncio.sleep(TIMEOUT_S)


async def hold_stream(target: Target) -> None:
    """Open a stream of events."""
    async with target.connect() as (reader, writer):
        writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n" + target.authorization + b"\r\n")
        while await reader.read(65_536):
            pass


async def send_many_keys(target: Target) -> None:
    """Log in with 110,000 unknown keys."""
    async with target.connect() as (reader, writer):
        writer.write(_POST % (b"/api/v1/session", len(_KEYS)) + b"Connection: close\r\n\r\n" + _KEYS)
        await writer.drain()
        await reader.read()


Attack = Callable[[Target], Coroutine[None, None, None]]
ATTACKS: dict[str, tuple[Attack, int, float]] = {
    "none": (send_many_keys, 0, 0),
    "1,000 slow heads": (send_slow_head, 1000, 1),
    "100 half bodies": (send_half_body, 100, 1),
    "20 heads of 40 MB": (send_endless_head, 20, 1),
    "100 unread clients": (read_nothing, 100, 1),
    "1,000 streams": (hold_stream, 1000, 60),
    "110,000 keys": (send_many_keys, 2, 0.1),
}
"""What each client does, the number of clients, and the seconds after which a client repeats it."""


async def repeat(attack: Attack, target: Target, pause_s: float) -> None:
    """Attack until cancelled."""
    while True:
        with contextlib.suppress(*ENDED):
            await attack(target)
        await asyncio.sleep(pause_s)


async def measure(target: Target, seconds: float) -> None:
    """Print a line per phase of each attack."""
    print(f"{'attack':20} {'phase':7} {'posts':>6} {'failed':>6} {'p50 ms':>8} {'p99 ms':>8} {'memory MB':>10}")
    for name, (attack, clients, pause_s) in ATTACKS.items():
        await _measure_phase(target, name, "before", seconds)
        attackers = [asyncio.create_task(repeat(attack, target, pause_s)) for _ in range(clients)]
        await asyncio.sleep(REST_S)
        await _measure_phase(target, name, "during", seconds)
        await _stop(attackers)
        await asyncio.sleep(REST_S)
        await _measure_phase(target, name, "after", seconds)


async def _measure_phase(target: Target, name: str, phase: str, seconds: float) -> None:
    posts = Posts()
    posting = asyncio.create_task(target.post(posts, time.perf_counter() + seconds))
    peak = 0.0
    while not posting.done():
        peak = max(peak, target.memory_mb())
        await asyncio.wait([posting], timeout=0.1)
    posting.result()
    print(f"{name:20} {phase:7} {posts.describe()} {peak:10.0f}", flush=True)


async def _stop(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("pid", type=int)
    parser.add_argument("--token")
    parser.add_argument("--seconds", type=float, default=20, help="of each phase")
    arguments = parser.parse_args()
    uvloop.run(measure(Target(arguments.port, arguments.pid, arguments.token), arguments.seconds))


if __name__ == "__main__":
    main()
