"""One round: post issues through both API processes, cause faults meanwhile, wait, and count."""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from contracts.names import Task
from devstack.network import wait_until
from tests.chaos.fleet import Fleet
from tests.support.database import Database

POSTERS = 4
RECOVERY_TIMEOUT_S = 180
FAULT_S = 3
"""About how long a fault takes; posting is spread over all of them."""
FINISHED = "('succeeded', 'dead', 'skipped', 'cancelled')"


@dataclass
class Report:
    """What one round saw."""

    faults: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    refused: int = 0
    """Requests that were answered otherwise than with 201, or not at all; each was posted again."""
    lost: int = 0
    """Accepted issues that have no row, or whose job is neither succeeded nor dead."""
    dead: int = 0
    untold: int = 0
    """Jobs that have attempts of which nothing is told."""
    enriched_twice: int = 0
    """Issues whose summary was written more than once, as a trigger saw it."""
    republished: int = 0
    """Attempts beyond the first: work that was done again, invisibly."""
    recovery_s: float = 0
    """From when the last fault struck until every issue was finished."""
    waits_s: list[float] = field(default_factory=list)
    """From each issue's commit to its end."""


class Poster:
    """Posts until it has been answered 201 often enough, whatever happens to the servers."""

    def __init__(self, fleet: Fleet, wanted: int, pause_s: float, seed: int) -> None:
        self._fleet = fleet
        self._wanted = wanted
        self._pause_s = pause_s
        self._rng = random.Random(seed)
        self.accepted: list[str] = []
        self.refused = 0
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        with httpx.Client(timeout=30) as client:
            while len(self.accepted) < self._wanted:
                base = self._rng.choice(self._fleet.apis).client.base_url
                title = f"Issue {self._rng.random()}"
                try:
                    answer = client.post(
                        base.join("/api/v1/issues"),
                        json={"title": title, "description": "The export fails with an error since Monday."},
                    )
                except httpx.HTTPError:
                    answer = None
                if answer is not None and answer.status_code == 201:
                    self.accepted.append(answer.json()["id"])
                    time.sleep(self._rng.uniform(0, 2 * self._pause_s))
                else:
                    self.refused += 1
                    time.sleep(0.1)


def watch_summaries(database: Database) -> None:
    """Have the database note each time that an issue's summary is written."""
    database.query("""
        CREATE TABLE summary_written (issue_id uuid);
        CREATE FUNCTION note_summary() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO summary_written VALUES (NEW.id); RETURN NEW; END $$;
        CREATE TRIGGER note_summary AFTER UPDATE OF ai_summary ON issue
        FOR EACH ROW EXECUTE FUNCTION note_summary()
    """)


def run_round(fleet: Fleet, database: Database, issues: int, faults: int, seed: int) -> Report:
    """Run one round on a fleet that works, and leave it working."""
    database.query("TRUNCATE issue, job, dead_message, circuit, summary_written CASCADE")
    rng = random.Random(seed)
    fleet.reseed(seed)
    report = Report()
    wanted = issues // POSTERS
    pause_s = faults * FAULT_S / wanted
    posters = [Poster(fleet, wanted, pause_s, rng.randrange(2**32)) for _ in range(POSTERS)]
    last_fault = time.monotonic()
    while report.faults.total() < faults or any(poster.thread.is_alive() for poster in posters):
        name = rng.choice(sorted(fleet.faults))
        last_fault = fleet.cause(name)
        report.faults[name] += 1
        time.sleep(rng.uniform(0, 1))
    for poster in posters:
        poster.thread.join()
        report.accepted += len(poster.accepted)
        report.refused += poster.refused
    fleet.wait_serving()
    try:
        wait_until(lambda: _unfinished(database) == 0, RECOVERY_TIMEOUT_S, "all jobs to be finished")
    except TimeoutError as error:
        raise AssertionError(f"{error}; there are {database.states()}") from None
    report.recovery_s = time.monotonic() - last_fault
    fleet.ensure_alive()
    _count(report, database, [issue_id for poster in posters for issue_id in poster.accepted])
    return report


def _unfinished(database: Database) -> int:
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
        kept = row is not None and row["jobs"] == 1 and (row["enriched"] or row["state"] == "dead")
        report.lost += not kept
    report.dead = sum(row["state"] == "dead" for row in rows)
    report.untold = sum(row["failures"] != row["attempts"] - (row["state"] == "succeeded") for row in rows)
    report.enriched_twice = sum(row["written"] > 1 for row in rows)
    report.republished = sum(max(row["attempts"] - 1, 0) for row in rows)
    report.waits_s = [row["wait"] for row in rows]
