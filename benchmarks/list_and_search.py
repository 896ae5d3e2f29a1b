"""How long lists, filters and searches take: `PYTHONPATH=services/api python -m benchmarks.list_and_search`.

One client, one API process, one page of 50 at a time; the times are the client's, over HTTP. `--plans` prints by
which indexes PostgreSQL reads each.
"""

import argparse
import asyncio
import re
import statistics
import time
from urllib.parse import parse_qs

import asyncpg
import httpx

from api.issues.listing import statement
from api.issues.schemas import IssueQuery
from benchmarks.stage import stage
from tests.support.many_issues import make_issues
from tests.support.processes import start_api

QUERIES = [
    "",
    "sort=-updated",
    "sort=-priority",
    "status=open",
    "priority=critical&sort=-updated",
    "tag=bug&tag=frontend",
    "tag=question&status=open&priority=low",
    "enrichment=dead",
    "enrichment=succeeded",
    "project=project-3",
    "created_after=2026-11-01T00:00:00Z",
    "q=word2900",
    "q=word500 word600",
    "q=word0",
    "q=word0&status=open&tag=bug",
    'q="word1 word0"',
    "q=word2900&sort=-created",
]


def main() -> None:
    """Measure, and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--issues", type=int, default=10_000)
    arguments.add_argument("--requests", type=int, default=100, help="of each query")
    arguments.add_argument("--plans", action="store_true")
    options = arguments.parse_args()
    with stage() as (servers, database):
        make_issues(database, options.issues)
        api = start_api(servers.env)
        print(f"{options.issues} issues; milliseconds of {options.requests} requests each")
        print(f"{'query':42} {'items':>5} {'p50':>7} {'p95':>7} {'max':>7}")
        for query in QUERIES:
            _measure(api.client, query, options.requests)
            if options.plans:
                print("    " + ", ".join(asyncio.run(_scans(servers.database_url, query))))
        api.process.stop(30)


def _measure(client: httpx.Client, query: str, requests: int) -> None:
    for _ in range(5):
        items = len(client.get(f"/api/v1/issues?{query}").json()["items"])
    times = []
    for _ in range(requests):
        started = time.perf_counter()
        client.get(f"/api/v1/issues?{query}").raise_for_status()
        times.append((time.perf_counter() - started) * 1000)
    p95 = statistics.quantiles(times, n=20)[-1]
    print(f"{query:42} {items:5} {statistics.median(times):7.1f} {p95:7.1f} {max(times):7.1f}", flush=True)


async def _scans(url: str, query: str) -> list[str]:
    fields = {name: values if name == "tag" else values[0] for name, values in parse_qs(query).items()}
    sql, values = statement(IssueQuery.model_validate(fields), None, 51)
    connection = await asyncpg.connect(url)
    plan = [row[0] for row in await connection.fetch(f"EXPLAIN {sql}", *values)]
    await connection.close()
    return [
        re.sub(r" +\(cost.*", "", line).strip(" ->") for line in plan if "Scan" in line and "Subquery" not in line
    ]


if __name__ == "__main__":
    main()
