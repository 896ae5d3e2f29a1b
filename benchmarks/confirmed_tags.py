"""What a project gains from the tags that its people confirm: through the API, by a real worker.

    python -m benchmarks.confirmed_tags --train types/train.jsonl --data types/dev.jsonl --tags 0 30 150

Each repository of the files is a project for each number of tags: that many of its issues are posted and their
types confirmed, its models are trained, and then its issues of `--data` are posted and their types compared.
"""

import argparse
import random
import sys
from collections import Counter, defaultdict
from pathlib import Path

from benchmarks.stage import stage
from devstack.network import wait_until
from evaluation.issues import Row, read_rows
from tests.support.database import Database
from tests.support.processes import Api, start_api, start_worker

TIMEOUT_S = 600
SETTINGS = {"DISPATCH_POLL_SECONDS": "0.2", "RETRAIN_AFTER": "0"}


def post(api: Api, row: Row, project: str) -> str:
    """Post an issue, cut to what the API takes; return its id."""
    answer = api.client.post(
        "/api/v1/issues",
        json={
            "title": row["title"].replace("\x00", "")[:255].strip() or "-",
            "description": (row["body"] or "").replace("\x00", "")[:65_536],
            "project": project,
        },
    )
    answer.raise_for_status()
    issue_id: str = answer.json()["id"]
    return issue_id


def balanced(rows: list[Row], count: int, seed: int) -> list[Row]:
    """Return `count` rows, of each label about as many."""
    by_label = defaultdict(list)
    for row in random.Random(seed).sample(rows, len(rows)):
        by_label[row["label"]].append(row)
    order = [row for group in zip(*by_label.values(), strict=False) for row in group]
    return order[:count]


def wait_enriched(database: Database) -> None:
    """Wait until every issue has been enriched and every training has ended."""
    waiting = "SELECT count(*) FROM job WHERE state IN ('pending', 'queued', 'running', 'retrying')"
    wait_until(lambda: database.one(waiting) == 0, TIMEOUT_S, "all jobs to end")


def confirm(api: Api, database: Database, rows: list[Row], project: str) -> str:
    """Post and confirm the rows, train, and say what came of it."""
    for row in rows:
        issue_id = post(api, row, project)
        api.client.put(f"/api/v1/issues/{issue_id}/tags", json={"tags": [row["label"]]}).raise_for_status()
    wait_enriched(database)
    if not rows:
        return "base"
    api.client.post("/api/v1/models/train", json={"project": project}).raise_for_status()
    wait_enriched(database)
    models = api.client.get("/api/v1/models", params={"project": project}).json()["models"]
    return "delta active" if any(m["is_active"] for m in models if m["kind"] == "type") else "delta kept inactive"


def judge(api: Api, database: Database, rows: list[Row], project: str) -> Counter[str]:
    """Post the rows and count what is said of their types."""
    ids = [post(api, row, project) for row in rows]
    wait_enriched(database)
    counts = Counter(issues=len(rows))
    for issue_id, row in zip(ids, rows, strict=True):
        made = api.client.get(f"/api/v1/issues/{issue_id}/enrichment").json()
        names = {tag["name"] for tag in made["tags"]} & {"bug", "feature", "question", "documentation"}
        counts["said"] += bool(names)
        counts["right"] += row["label"] in names
    return counts


def main() -> int:
    """Run it and print a line for each number of tags and repository."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tags", type=int, nargs="+", default=[0, 30, 150])
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    train, data = (read_rows(path, "repo", "title", "body", "label") for path in (arguments.train, arguments.data))
    with stage() as (servers, database):
        api, worker = start_api({**servers.env, **SETTINGS}), start_worker(servers.env)
        for count in arguments.tags:
            total: Counter[str] = Counter()
            for repo in sorted({row["repo"] for row in data}):
                project = f"{repo.lower()}-{count}"
                chosen = balanced([row for row in train if row["repo"] == repo], count, arguments.seed)
                state = confirm(api, database, chosen, project)
                counts = judge(api, database, [row for row in data if row["repo"] == repo], project)
                total += counts
                print(f"{count:4} tags  {repo:24} {_line(counts)}  {state}", flush=True)
            print(f"{count:4} tags  {'all':24} {_line(total)}", flush=True)
        worker.process.stop(60)
        api.process.stop(60)
    return 0


def _line(counts: Counter[str]) -> str:
    said, right, issues = counts["said"], counts["right"], counts["issues"]
    return (
        f"issues {issues}, a type said of {said / issues:.0%}, "
        f"right of those {right / max(said, 1):.1%}, right of all {right / issues:.1%}"
    )


if __name__ == "__main__":
    sys.exit(main())
