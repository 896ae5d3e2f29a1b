"""The benchmark's own arithmetic: goals, and what the load generator counts."""

import asyncio

import pytest

from benchmarks import jobs, post
from benchmarks.goals import GOALS, GUARDS, is_missed
from benchmarks.load import load
from benchmarks.results import Results


def goal(name: str):
    (found,) = [goal for goal in GOALS if goal.name == name]
    return found


def test_goal_of_a_ratio_uses_medians_and_the_better_twin():
    results = Results()
    for value in (900, 1000, 1100):
        results.add(post.PER_SECOND, "ours", value)
    assert goal("post_vs_twin").line(results) == "goal post_vs_twin measured=missing must=5 goal=10"
    results.add(post.PER_SECOND, "naive", 100)
    assert goal("post_vs_twin").line(results) == "goal post_vs_twin measured=10 must=5 goal=10"
    results.add(post.PER_SECOND, "naive, async", 125)
    assert goal("post_vs_twin").line(results) == "goal post_vs_twin measured=8 must=5 goal=10"


@pytest.mark.parametrize(("cpu_ms", "jobs_per_second", "missed"), [(24, 60, []), (26, 60, [0]), (24, 40, [1])])
def test_guard_misses_a_bound_on_either_side(cpu_ms, jobs_per_second, missed):
    results = Results()
    for measure, ours in ((post.API_CPU, cpu_ms), (jobs.PER_CORE, jobs_per_second)):
        results.add(measure, "naive", 100)
        results.add(measure, "ours", ours)

    assert [number for number, guard in enumerate(GUARDS) if is_missed(guard, results)] == missed


def test_best_safe_peer_is_one_that_loses_no_job():
    results = Results()
    for name, speed, lost in (("ours", 500, 0), ("safe", 400, 0), ("fast", 900, 3)):
        results.add(jobs.PER_CORE, name, speed)
        results.kills[name] = {"not done": lost}

    assert goal("jobs_cpu_vs_best_safe_peer").figure(results) == 1.25


@pytest.fixture
def stalling_port():
    """A server that handles one request at a time, the first in 0.2 s."""

    async def serve(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
                async with turn:
                    if not answered:
                        await asyncio.sleep(0.2)
                    answered.append(1)
                writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}")
        except asyncio.IncompleteReadError:
            writer.close()

    async def measured(**arguments):
        server = await asyncio.start_server(serve, "127.0.0.1")
        async with server:
            return await load(server.sockets[0].getsockname()[1], **arguments)

    answered: list[int] = []
    turn = asyncio.Lock()
    return lambda **arguments: asyncio.run(measured(**arguments))


def test_load_at_a_rate_counts_latency_from_the_scheduled_time(stalling_port):
    result = stalling_port(connections=4, seconds=0.5, rate=100)

    assert result["per_second"] <= 110
    assert result["p99_ms"] >= 150
