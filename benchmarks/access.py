"""What authentication, rate limits and the audit log cost a POST: CPU of the API process, variants in turns.

    python -m benchmarks.access --rounds 5 --issues 400

Each variant is an API process of its own on the same servers; CPU time rather than elapsed time, since it says the
same on a busy machine. Prints the median over the rounds, and each round.
"""

import argparse
import asyncio
import secrets
import statistics
from contextlib import ExitStack
from typing import Any

import httpx
import psutil

from benchmarks.stage import stage
from tests.support.processes import Api, start_api

ADMIN = f"itk_admin_{secrets.token_hex(20)}"
CLOSED = {"AUTH": "on", "ADMIN_TOKEN": ADMIN}
VARIANTS = {
    "AUTH=off": {},
    "AUTH=on, no limit": {**CLOSED, "RATE_LIMIT": "0", "RATE_LIMIT_ADDRESS": "0"},
    "AUTH=on, limits": {**CLOSED, "RATE_LIMIT": "1000000"},
}
CONCURRENCY = 16


async def post(api: Api, headers: dict[str, str], number: int) -> float:
    """Post so many issues; return the API's CPU time for one, in milliseconds."""
    process = psutil.Process(api.process.pid)
    waiting = iter(range(number))

    async def poster(client: httpx.AsyncClient) -> None:
        for _ in waiting:
            answer = await client.post("/api/v1/issues", json={"title": "The page is empty"})
            answer.raise_for_status()

    async with httpx.AsyncClient(base_url=api.client.base_url, headers=headers, timeout=60) as client:
        await poster_warm_up(client)
        before = process.cpu_times()
        await asyncio.gather(*(poster(client) for _ in range(CONCURRENCY)))
        after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / number * 1000


async def poster_warm_up(client: httpx.AsyncClient) -> None:
    """Open the connections."""
    await asyncio.gather(*(client.get("/api/v1/session") for _ in range(CONCURRENCY)))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--issues", type=int, default=400)
    arguments = parser.parse_args()
    with stage() as (servers, _), ExitStack() as stack:
        apis: dict[str, tuple[Api, dict[str, str]]] = {}
        for name, env in VARIANTS.items():
            api = start_api({**servers.env, "DISPATCH_POLL_SECONDS": "3600", **env})
            stack.callback(api.process.stop, 30)
            apis[name] = api, {}
            if env:
                apis[name] = api, {"Authorization": f"Bearer {make_token(api, secrets.token_hex(4))}"}
        measured: dict[str, list[float]] = {name: [] for name in VARIANTS}
        for _ in range(arguments.rounds):
            for name, (api, headers) in apis.items():
                measured[name].append(asyncio.run(post(api, headers, arguments.issues)))
    for name, values in measured.items():
        rounds = " ".join(f"{value:.2f}" for value in values)
        print(f"{name:20} {statistics.median(values):.2f} ms of CPU a POST ({rounds})")


def make_token(api: Api, name: str) -> str:
    """Return a new token that may report issues and read them."""
    body: dict[str, Any] = {"name": name, "scopes": ["issues:read", "issues:write"]}
    answer = api.client.post("/api/v1/tokens", json=body, headers={"Authorization": f"Bearer {ADMIN}"})
    return str(answer.raise_for_status().json()["token"])


if __name__ == "__main__":
    main()
