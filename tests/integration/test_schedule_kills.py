"""Three API processes are killed at each step of a run, over the clock changes of a year."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

from contracts.names import Task
from tests.support.database import Database
from tests.support.processes import Api, start_api
from tests.support.schedules import add_schedule
from tests.support.servers import Servers
from tests.support.waiting import wait_until

# The clock of the transactions of these processes. `now` is found in this schema first.
CLOCK = """
CREATE SCHEMA clock;
CREATE TABLE clock.shift AS SELECT interval '0' AS by;
CREATE FUNCTION clock.now() RETURNS timestamptz STABLE LANGUAGE sql
    AS 'SELECT pg_catalog.now() + by FROM clock.shift';
CREATE FUNCTION clock.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_advisory_xact_lock_shared(TG_ARGV[0]::integer);
    RETURN new;
END $$;
CREATE TRIGGER wait_1 BEFORE INSERT ON job FOR EACH ROW EXECUTE FUNCTION clock.wait(1);
CREATE TRIGGER wait_2 BEFORE UPDATE ON schedule FOR EACH ROW EXECUTE FUNCTION clock.wait(2);
CREATE CONSTRAINT TRIGGER wait_3 AFTER UPDATE ON schedule DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION clock.wait(3);
CREATE TRIGGER wait_4 BEFORE UPDATE ON job FOR EACH ROW WHEN (new.state = 'queued')
    EXECUTE FUNCTION clock.wait(4);
"""
INSERT, ADVANCE, COMMIT, PUBLISH = 1, 2, 3, 4
"""The statements at which a trigger waits for the advisory lock of this number."""

RUNS = [
    datetime.fromisoformat(f"2027-{run}:00+00:00")
    for run in ("03-27T01:30", "03-28T01:00", "03-29T00:30", "10-30T00:30", "10-31T00:30", "11-01T01:30")
]
"""02:30 in Berlin: it does not exist on March 28 and occurs twice on October 31."""
NEXT_RUNS = [*RUNS[1:3], datetime.fromisoformat("2027-03-30T00:30:00+00:00"), *RUNS[4:]]
"""The run after each one, but the last."""
KILLED_AT = {RUNS[1]: INSERT, RUNS[2]: ADVANCE, RUNS[4]: COMMIT, RUNS[5]: PUBLISH}


@pytest.fixture
def clock(database: Database) -> Iterator[Database]:
    add_schedule(database, "prune", "30 2 * * *", "Europe/Berlin")
    database.query(CLOCK)
    yield database
    database.query("DROP SCHEMA clock CASCADE")


class Fleet:
    """Three API processes on the shifted clock."""

    def __init__(self, servers: Servers) -> None:
        url = f"{servers.database_url}?search_path=clock,pg_catalog,public"
        self._env = {**servers.env, "DATABASE_URL": url, "DISPATCH_POLL_SECONDS": "0.1"}
        self._processes = [start_api(self._env) for _ in range(3)]

    @contextmanager
    def only(self, number: int) -> Iterator[Api]:
        """Stop the other processes while the body runs."""
        others = [api for api in self._processes if api is not self._processes[number]]
        for api in others:
            api.process.send(signal.SIGSTOP)
        try:
            yield self._processes[number]
        finally:
            for api in others:
                api.process.send(signal.SIGCONT)

    def replace(self, number: int) -> None:
        self._processes[number].client.close()
        self._processes[number] = start_api(self._env)

    def close(self) -> None:
        for api in self._processes:
            api.process.send(signal.SIGCONT)
            api.client.close()
            api.process.kill_group()


@pytest.fixture
def fleet(servers: Servers, clock: Database, broker: Any) -> Iterator[Fleet]:
    del clock, broker
    fleet = Fleet(servers)
    yield fleet
    fleet.close()


def set_clock(database: Database, time: datetime) -> None:
    database.query("UPDATE clock.shift SET by = %s - pg_catalog.now()", time)


def count_jobs(database: Database, state: str) -> int:
    number: int = database.one("SELECT count(*) FROM job WHERE task = %s AND state = %s", Task.PRUNE, state)
    return number


@contextmanager
def waiting_at(database: Database, step: int) -> Iterator[None]:
    """Make each transaction wait at the step while the body runs."""
    database.query("SELECT pg_advisory_lock(%s)", step)
    try:
        yield
    finally:
        database.query("SELECT pg_advisory_unlock(%s)", step)


def kill_at(database: Database, fleet: Fleet, number: int, step: int, time: datetime) -> None:
    """Let one process run the schedule at that time, and kill it at the step."""
    waiting = "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
    with waiting_at(database, step), fleet.only(number) as api:
        set_clock(database, time)
        wait_until(lambda: bool(database.one(waiting, step)), f"step {step} of the run")
        api.process.kill_group()
    fleet.replace(number)


@pytest.mark.parametrize("rounds", [1, pytest.param(3, marks=pytest.mark.nightly)])
def test_schedule_over_clock_changes_with_killed_processes_runs_once_each(
    fleet: Fleet, clock: Database, rounds: int
) -> None:
    """A round of the nightly test kills each of the processes at each step."""
    for shift in range(rounds):
        clock.query("DELETE FROM job")
        clock.query("UPDATE schedule SET last_run_at = NULL, next_run_at = %s", RUNS[0])
        for index, run in enumerate(RUNS):
            if run in KILLED_AT:
                kill_at(clock, fleet, (index + shift) % 3, KILLED_AT[run], run)
            else:
                set_clock(clock, run)
            wait_until(lambda: count_jobs(clock, "queued") == 1, f"the job of {run}")
            if index < len(NEXT_RUNS):
                assert clock.one("SELECT next_run_at FROM schedule") == NEXT_RUNS[index]
            clock.query("UPDATE job SET state = 'succeeded', lease_until = NULL, finished_at = pg_catalog.now()")

        created = [row["run_at"] for row in clock.query("SELECT run_at FROM job ORDER BY run_at")]
        assert len(created) == len(RUNS)
        assert all(run <= time for run, time in zip(RUNS, created, strict=True))
        assert all(time < later for time, later in zip(created, NEXT_RUNS, strict=False))
        set_clock(clock, datetime.fromisoformat("2027-01-01T00:00:00+00:00"))
