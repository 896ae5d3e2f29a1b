"""Measures what one issue costs each part of an installation on Kubernetes, for docs/reference/sizing.md.

    python -m benchmarks.sizing issues.jsonl --issues 1000

Runs the images as the manifests say (tests/support/pods.py), posts issues eight at a time, waits until every job
of both queues has ended, and prints CPU and memory of each container by the engine's count, and what the database
grew by. Each line of the file is a JSON object with `title` and `description`. What they use idle is taken off.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import docker

from contracts.names import Queue
from deploy.images import SERVICES, build, tag
from devstack.network import wait_until
from tests.support import manifests, pods
from tests.support.installed import Installation
from tests.support.manifests import MIGRATE, SECRETS
from tests.support.pods import exit_code

SERVERS = ("redis", "postgres")
PARTS = ("api", *(f"worker-{queue}" for queue in Queue), *SERVERS)
IDLE_S = 20
TIMEOUT_S = 1200


def install(node: pods.Node) -> Installation:
    """Bring up what the default has, but for Flower."""
    installation = Installation(node)
    node.start_api_server()
    wait_until(lambda: installation.job(SECRETS, f"-{time.monotonic_ns()}")[0] == 0, TIMEOUT_S, "the Secrets")
    for name in SERVERS:
        installation.start(name)
        installation.ready(name)
    assert exit_code(node.main(MIGRATE)) == 0
    for name in PARTS[:-2]:
        installation.start(name)
        installation.ready(name)
    return installation


def used(installation: Installation) -> dict[str, tuple[float, float]]:
    """Return the CPU seconds that each container has used, and the MB that it holds now."""
    engine = docker.APIClient(version="auto")

    def one(name: str) -> tuple[float, float]:
        stats = engine.stats(installation.running[name], stream=False)
        memory = stats["memory_stats"]
        # What the kernel would give up: by version 1 or 2 of control groups.
        cached = memory["stats"].get("total_inactive_file", memory["stats"].get("inactive_file", 0))
        return stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9, (memory["usage"] - cached) / 1e6

    with ThreadPoolExecutor(len(PARTS)) as pool:
        return dict(zip(PARTS, pool.map(one, PARTS), strict=True))


def size(installation: Installation) -> int:
    """Return the database's bytes."""
    return int(installation.sql("SELECT pg_database_size('IssueTracker')"))


def measure(installation: Installation, issues: list[dict[str, str]]) -> None:
    """Post, wait, and print."""
    installation.enrich("The first one loads the models")
    at_first, looked = used(installation), time.monotonic()
    time.sleep(IDLE_S)
    before, started = used(installation), time.monotonic()
    idle = {name: (before[name][0] - at_first[name][0]) / (started - looked) for name in PARTS}
    bytes_before = size(installation)

    client = installation.api
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda issue: client.post("/api/v1/issues", json=issue).status_code, issues))
    assert codes == [201] * len(issues)
    posted = time.monotonic() - started
    unfinished = "SELECT count(*) FROM job WHERE state <> 'succeeded'"
    while installation.sql(unfinished) != "0" and time.monotonic() < started + TIMEOUT_S:
        time.sleep(1)

    after, took = used(installation), time.monotonic() - started
    print(f"{len(issues)} issues posted in {posted:.1f} s, all done after {took:.1f} s, on {os.cpu_count()} cores")
    for name in PARTS:
        own = (after[name][0] - before[name][0] - idle[name] * took) / len(issues) * 1000
        print(f"{name:<16} {own:6.2f} ms an issue, {idle[name] * 1000:5.1f} ms/s idle, {after[name][1]:5.0f} MB")
    print(f"database         {(size(installation) - bytes_before) / len(issues) / 1000:6.2f} kB an issue")


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--issues", type=int, default=1000)
    arguments = parser.parse_args()
    read = [json.loads(line) for line in arguments.file.read_text().splitlines()]
    issues = [{"title": item["title"][:255], "description": item["description"][:65_536]} for item in read]
    images = {**{tag(service): build(service) for service in SERVICES}, "issuetracker-api": tag("api")}
    images |= {name: name for name in ("pgvector/pgvector:pg17", "redis:8")}
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as directory,
        pods.node(manifests.render(manifests.DEFAULT), images, Path(directory)) as node,
    ):
        measure(install(node), list(islice(cycle(issues), arguments.issues)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
