"""Many listeners of the event stream, in a process of their own: `python -m benchmarks.paired.listen PORT COUNT`.

Prints a line when all listen; ends, and prints what they heard of new issues, when its input ends.
"""

import asyncio
import sys

import uvloop

REQUEST = b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
EVENT = b"event: issue.created"
OPENED_AT_ONCE = 50


async def listen(port: int, heard: list[int], opened: asyncio.Queue[None]) -> None:
    """Count what one listener hears."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    opened.put_nowait(None)
    while line := await reader.readline():
        heard[0] += line.startswith(EVENT)


async def main() -> None:
    """Run the command line."""
    port, count = int(sys.argv[1]), int(sys.argv[2])
    heard, opened = [0], asyncio.Queue[None]()
    listeners = []
    for number in range(count):
        listeners.append(asyncio.create_task(listen(port, heard, opened)))
        if number % OPENED_AT_ONCE == 0:
            await opened.get()
            opened.put_nowait(None)
    for _ in range(count):
        await opened.get()
    print("listening", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(heard[0], flush=True)
    for listener in listeners:
        listener.cancel()


if __name__ == "__main__":
    uvloop.run(main())
