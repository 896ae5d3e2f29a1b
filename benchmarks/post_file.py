"""Posts a file of issues to a running API and waits until all are enriched.

    python benchmarks/post_file.py issues.jsonl --concurrency 16 --url http://127.0.0.1:8000

Each line is a JSON object with `title`, `description` and `priority`; other fields are left out. Prints the
times, the end states, and some of the results to be read. Exit code 1 unless every issue was enriched in time.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

FIELDS = ("title", "description", "priority")
FINISHED = {"succeeded", "dead", "skipped", "cancelled"}


async def post_all(client: httpx.AsyncClient, issues: list[dict[str, Any]], concurrency: int) -> list[str]:
    """Post the issues, `concurrency` at a time; return the ids of those that were accepted."""
    waiting = iter(issues)
    accepted: list[str] = []

    async def poster() -> None:
        for issue in waiting:
            answer = await client.post("/api/v1/issues", json={name: issue[name] for name in FIELDS})
            if answer.status_code == 201:
                accepted.append(answer.json()["id"])
            else:
                print(f"refused: {answer.status_code} {answer.text}", file=sys.stderr)

    await asyncio.gather(*(poster() for _ in range(concurrency)))
    return accepted


async def wait_for(client: httpx.AsyncClient, ids: list[str], timeout_s: float) -> list[dict[str, Any]]:
    """Return the issues once all are finished, or as they are after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    finished: dict[str, dict[str, Any]] = {}
    while len(finished) < len(ids) and time.monotonic() < deadline:
        for issue_id in ids:
            if issue_id not in finished:
                issue = (await client.get(f"/api/v1/issues/{issue_id}")).json()
                if issue["enrichment"]["status"] not in FINISHED:
                    await asyncio.sleep(0.05)
                    break
                finished[issue_id] = issue
    return list(finished.values())


async def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--token", default=os.environ.get("ISSUETRACKER_TOKEN"), help="or ISSUETRACKER_TOKEN")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--timeout", type=float, default=300, help="seconds to wait for the enrichment")
    parser.add_argument("--show", type=int, default=10, help="results to print")
    arguments = parser.parse_args()
    issues = [json.loads(line) for line in arguments.file.read_text().splitlines()]
    headers = {"Authorization": f"Bearer {arguments.token}"} if arguments.token else {}
    async with httpx.AsyncClient(base_url=arguments.url, headers=headers, timeout=30) as client:
        started = time.monotonic()
        ids = await post_all(client, issues, arguments.concurrency)
        posted = time.monotonic()
        results = await wait_for(client, ids, arguments.timeout)
        done = time.monotonic()
    states = Counter(issue["enrichment"]["status"] for issue in results)
    unsummarised = sum(not issue["ai_summary"] for issue in results)
    posting_s, total_s = posted - started, done - started
    print(f"posted {len(ids)} of {len(issues)} in {posting_s:.1f} s, {len(ids) / posting_s:.0f} a second")
    print(f"finished after {total_s:.1f} s: {dict(states)}, {unsummarised} without ai_summary")
    for issue in random.Random(1).sample(results, min(arguments.show, len(results))):
        print("", issue["title"], issue["ai_summary"], ",".join(issue["tags"]), sep="\n  ")
    complete = len(ids) == len(issues) == states["succeeded"] and not unsummarised
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
