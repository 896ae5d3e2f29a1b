"""Load of POST requests, from a process of its own.

    python -m benchmarks.load PORT --seconds 5 [--rate 90]

Without a rate each connection sends its next request after the response. With a rate each request has a scheduled
time and its latency counts from that time, so a server that stalls pays for the requests that wait. Prints JSON.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator
from itertools import count

import uvloop

CONNECTIONS = 32
PATH = "/api/v1/issues"
BODY = json.dumps(
    {
        "title": "Login button not working",
        "description": "A click on it does nothing. It worked until the last release, in every browser.",
        "priority": "high",
    }
)
TIMEOUT_S = 60
_REQUEST = (
    f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n{BODY}"
).encode()


async def load(port: int, connections: int, seconds: float, rate: float | None) -> dict[str, float]:
    """Return requests per second and the 99th percentile of the latencies in milliseconds."""
    times: list[float] = []
    started = time.perf_counter()
    # All connections share the schedule: the next free one takes the next time.
    schedule = (0.0 if rate is None else started + number / rate for number in count())
    until = started + seconds
    await asyncio.gather(*(_connection(port, schedule, until, times) for _ in range(connections)))
    elapsed = time.perf_counter() - started
    times.sort()
    return {"per_second": len(times) / elapsed, "p99_ms": times[len(times) * 99 // 100] * 1000}


async def _connection(port: int, schedule: Iterator[float], until: float, times: list[float]) -> None:
    """Send requests until the time is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for scheduled in schedule:
        if max(scheduled, time.perf_counter()) >= until:
            break
        if (ahead := scheduled - time.perf_counter()) > 0:
            await asyncio.sleep(ahead)
        started = scheduled or time.perf_counter()
        writer.write(_REQUEST)
        async with asyncio.timeout(TIMEOUT_S):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length[15:]))
        if not head.startswith(b"HTTP/1.1 201"):
            sys.exit(f"a POST did not return 201 but {head.splitlines()[0]!r}")
        times.append(time.perf_counter() - started)
    writer.close()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=float)
    arguments = parser.parse_args()
    print(json.dumps(uvloop.run(load(arguments.port, CONNECTIONS, arguments.seconds, arguments.rate))))


if __name__ == "__main__":
    main()
