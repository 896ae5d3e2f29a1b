"""Load from a process of its own, so that its CPU is nobody else's. Loopback, bounded in time and connections.

    python -m benchmarks.paired.load PORT --connections 32 --seconds 5 [--rate 90]

Without a rate each connection sends its next request after the answer. With one, requests have their moments, and
their times are counted from these: a server that stalls pays for those who wait. Prints JSON.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Iterator
from itertools import count

import uvloop

PATH = "/api/v1/issues"
BODY = json.dumps(
    {
        "title": "Login button not working",
        "description": "A click on it does nothing. It worked until the last release, in every browser.",
        "priority": "high",
    }
)
REQUEST = (
    f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n{BODY}"
).encode()
TIMEOUT_S = 60


async def connection(port: int, moments: Iterator[float], until: float, times: list[float]) -> int:
    """Send requests until the time is over; return how many were not answered with 201."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    refused = 0
    for moment in moments:
        if max(moment, time.perf_counter()) >= until:
            break
        if (ahead := moment - time.perf_counter()) > 0:
            await asyncio.sleep(ahead)
        started = moment or time.perf_counter()
        writer.write(REQUEST)
        async with asyncio.timeout(TIMEOUT_S):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length[15:]))
        times.append(time.perf_counter() - started)
        refused += not head.startswith(b"HTTP/1.1 201")
    writer.close()
    return refused


async def load(port: int, connections: int, seconds: float, rate: float | None) -> dict[str, float]:
    """Return requests a second and their times in milliseconds."""
    times: list[float] = []
    started = time.perf_counter()
    # Shared by all connections: whoever is free takes the next moment.
    moments = (0.0 if rate is None else started + number / rate for number in count())
    until = started + seconds
    refused = await asyncio.gather(*(connection(port, moments, until, times) for _ in range(connections)))
    elapsed = time.perf_counter() - started
    times.sort()
    return {
        "requests": len(times),
        "refused": sum(refused),
        "per_second": len(times) / elapsed,
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[len(times) * 99 // 100] * 1000,
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=float)
    given = parser.parse_args()
    print(json.dumps(uvloop.run(load(given.port, given.connections, given.seconds, given.rate))))


if __name__ == "__main__":
    main()
