"""Calculations of the paired benchmark: goals, load generator and capacity."""

import asyncio

import pytest

from benchmarks import capacity
from benchmarks.paired import jobs, post
from benchmarks.paired.goals import GOALS
from benchmarks.paired.load import load
from benchmarks.paired.results import Results


def goal(words: str):
    (found,) = [goal for goal in GOALS if words in goal.work]
    return found


def test_goal_figure_is_ratio_of_medians():
    results = Results()
    for value in (900, 1000, 1100):
        results.add(post.PER_SECOND, "ours", value)
    assert goal("POST/s at 32 connections, by the better").reached(results) is None, (
        "the compared system was not measured"
    )
    results.add(post.PER_SECOND, "naive", 100)
    assert goal("POST/s at 32 connections, by the better").figure(results) == 10
    assert goal("POST/s at 32 connections, by the better").reached(results)
    results.add(post.PER_SECOND, "naive, async", 125)
    assert goal("POST/s at 32 connections, by the better").figure(results) == 8


def test_goal_below_target_is_not_reached():
    results = Results()
    results.add(post.P99, "ours", 26)
    results.add(post.P99, "naive", 100)
    assert goal("p99 at 80%").reached(results) is False


def test_goal_against_fastest_peer_ignores_peers_that_lose_jobs():
    results = Results()
    for name, speed, lost in (("ours", 500, 0), ("safe", 400, 0), ("fast", 900, 3)):
        results.add(jobs.PER_CORE, name, speed)
        results.kills[name] = {"not done": lost}
    results.kills["absent"] = {"missing": "it does not start"}
    assert goal("fastest peer").figure(results) == 1.25


@pytest.fixture
def stalling_port():
    """Return a function that measures a server whose only worker stalls 0.2 s on the first request."""

    async def serve(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
                async with worker_lock:
                    if not requests_served:
                        await asyncio.sleep(0.2)
                    requests_served.append(1)
                writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}")
        except asyncio.IncompleteReadError:
            writer.close()

    async def measure(**arguments):
        server = await asyncio.start_server(serve, "127.0.0.1")
        async with server:
            return await load(server.sockets[0].getsockname()[1], **arguments)

    requests_served: list[int] = []
    worker_lock = asyncio.Lock()
    return lambda **arguments: asyncio.run(measure(**arguments))


def test_load_at_fixed_rate_measures_latency_from_scheduled_time(stalling_port):
    result = stalling_port(connections=4, seconds=0.5, rate=100)
    assert result["refused"] == 0
    assert result["requests"] <= 50
    assert result["p99_ms"] >= 150


def test_capacity_table_grows_with_rate_and_states_limits():
    costs = {"API": 3, "worker issues": 17, "worker default": 44, "PostgreSQL": 19, "Valkey": 1.5}
    assert capacity.cores(6, 60_000) == 10
    assert "| API processes | 2 | 2 | 9 |" in capacity.table(costs, 8)
    assert capacity.limits(costs)["Redis's one thread"] == pytest.approx(24_000)
