"""One round: post issues through both API processes, cause faults, wait and count the results."""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from contracts.names import Task
from tests.chaos.fleet import Fleet
from tests.support.database import Database
from tests.support.waiting import wait_until

POSTERS = 4
PROJECTS = ("acme/shop", "acme/web")
PRIORITIES = (None, "critical", "high", "medium", "low")
FAULT_S = 3
"""Approximate duration of a fault. The posts are spread over all faults."""
FINISHED = "('succeeded', 'dead', 'skipped', 'cancelled')"


@dataclass
class Report:
    """The results of one round."""

    faults: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    failed_requests: int = 0
    """Requests without a 201 response. Each was posted again."""
    lost: int = 0
    """Accepted issues without a row, or with a job that is neither succeeded nor dead."""
    dead: int = 0
    unrecorded: int = 0
    """Jobs with attempts that the ledger did not record."""
    enriched_twice: int = 0
    """Issues whose summary was written more than once, counted by a trigger."""
    republished: int = 0
    """Attempts after the first, which repeat work."""
    recovery_s: float = 0
    """Seconds from the last fault until every issue was finished."""
    waits_s: list[float] = field(default_factory=list)
    """Seconds from the commit of each issue to the end of its job."""


class Poster:
    """A thread that posts issues until `target` requests returned 201."""

    def __init__(self, fleet: Fleet, target: int, pause_s: float, seed: int) -> None:
        self._fleet = fleet
        self._target = target
        self._pause_s = pause_s
        self._rng = random.Random(seed)
        self.accepted: list[str] = []
        self.failed_requests = 0
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        with httpx.Client(timeout=30) as client:
            while len(self.accepted) < self._target:
                base = self._rng.choice(self._fleet.apis).client.base_url
                issue = {
                    "title": f"Issue {self._rng.random()}",
                    "description": "The export fails with an error since Monday.",
                    "project": self._rng.choice(PROJECTS),
                    "priority": self._rng.choice(PRIORITIES),
                }
                try:
                    response = client.post(base.join("/api/v1/issues"), json=issue)
                except httpx.HTTPError:
                    response = None
                if response is not None and response.status_code == 201:
                    self.accepted.append(response.json()["id"])
                    time.sleep(self._rng.uniform(0, 2 * self._pause_s))
                else:
                    self.failed_requests += 1
                    time.sleep(0.1)


def watch_summaries(database: Database) -> None:
    """Create a trigger that records each write of a summary."""
    database.query("""
        CREATE TABLE summary_written (issue_id uuid);
        CREATE FUNCTION note_summary() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO summary_written VALUES (NEW.id); RETURN NEW; END $$;
        CREATE TRIGGER note_summary AFTER UPDATE OF ai_summary ON issue
        FOR EACH ROW EXECUTE FUNCTION note_summary()
    """)


def run_round(fleet: Fleet, database: Database, issues: int, faults: int, seed: int) -> Report:
    """Run one round on a healthy fleet and leave it healthy."""
    database.query("TRUNCATE issue, job, dead_message, circuit, summary_written CASCADE")
    rng = random.Random(seed)
    fleet.set_seed(seed)
    report = Report()
    target = issues // POSTERS
    pause_s = faults * FAULT_S / target
    posters = [Poster(fleet, target, pause_s, rng.randrange(2**32)) for _ in range(POSTERS)]
    last_fault = time.monotonic()
    while report.faults.total() < faults or any(poster.thread.is_alive() for poster in posters):
        name = rng.choice(sorted(fleet.faults))
        last_fault = fleet.cause(name)
        report.faults[name] += 1
        time.sleep(rng.uniform(0, 1))
    for poster in posters:
        poster.thread.join()
        report.accepted += len(poster.accepted)
        report.failed_requests += poster.failed_requests
    fleet.wait_serving()
    wait_until(
        lambda: _count_unfinished(database) == 0,
        lambda: f"all jobs to be finished; their states are {database.states()}",
    )
    report.recovery_s = time.monotonic() - last_fault
    fleet.ensure_alive()
    _count(report, database, [issue_id for poster in posters for issue_id in poster.accepted])
    return report


def _count_unfinished(database: Database) -> int:
    count: int = database.one(f"SELECT count(*) FROM job WHERE state NOT IN {FINISHED}")
    return count


def _count(report: Report, database: Database, accepted: list[str]) -> None:
    rows = database.query(
        f"""
        SELECT issue.id, job.state, job.attempts, ai_summary IS NOT NULL AS enriched,
            (SELECT count(*) FROM job WHERE issue_id = issue.id AND task = '{Task.ENRICH_ISSUE}') AS jobs,
            (SELECT count(*) FROM summary_written WHERE issue_id = issue.id) AS written,
            (SELECT count(*) FROM job_failure WHERE job_id = job.id) AS failures,
            extract(epoch FROM job.finished_at - issue.created_at)::float AS wait
        FROM issue JOIN job ON job.issue_id = issue.id AND task = '{Task.ENRICH_ISSUE}'
        """
    )
    found = {str(row["id"]): row for row in rows}
    for issue_id in accepted:
        row = found.get(issue_id)
        is_kept = row is not None and row["jobs"] == 1 and (row["enriched"] or row["state"] == "dead")
        report.lost += not is_kept
    report.dead = sum(row["state"] == "dead" for row in rows)
    report.unrecorded = sum(row["failures"] != row["attempts"] - (row["state"] == "succeeded") for row in rows)
    report.enriched_twice = sum(row["written"] > 1 for row in rows)
    report.republished = sum(max(row["attempts"] - 1, 0) for row in rows)
    report.waits_s = [row["wait"] for row in rows]
