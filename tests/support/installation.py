"""An installation under traffic whose processes are replaced one by one, as in a rolling upgrade."""

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import psycopg2
import redis

from contracts.names import Queue, Task
from tests.support.database import Database
from tests.support.processes import Api, RunningProcess, start_api, start_worker
from tests.support.released import Release
from tests.support.servers import Servers, migrate
from tests.support.waiting import DEADLINE_S, wait_until

Code = Literal["released", "new"]

# Short enough that rejected and lost messages are retried within a test.
SETTINGS = {
    "DISPATCH_POLL_SECONDS": "0.1",
    "REFUSED_RETRY_SECONDS": "0.5",
    "REJECTED_RETRY_SECONDS": "0.5",  # the name in this tree; see tests/support/forked.py
    "LEASE_SECONDS": "5",
    "WORKER_CONCURRENCY": "1",
}
PAUSE_S = 0.1


class Traffic:
    """Posts issues and reads pages, using each API process in turn."""

    def __init__(self) -> None:
        self.rotation: list[Api] = []
        self.accepted: list[str] = []
        self.failures: list[str] = []
        self._requests = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._post_continuously, name="traffic", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(DEADLINE_S)

    def post(self, api: Api | None = None) -> None:
        """Post an issue to an API process, by default to the next one of the rotation."""
        with self._requests:
            api = api or self._next()
            response = self._expect(
                201, api, "POST", json={"title": f"Printing fails on page {len(self.accepted)}"}
            )
            if response is not None:
                self.accepted.append(response.json()["id"])

    def remove_from_rotation(self, api: Api) -> None:
        """Remove an API process from the rotation after its last request has completed."""
        with self._requests:
            self.rotation.remove(api)

    def _next(self) -> Api:
        self.rotation.append(self.rotation.pop(0))
        return self.rotation[-1]

    def _post_continuously(self) -> None:
        while not self._stopping.wait(PAUSE_S):
            self.post()
            with self._requests:
                self._expect(200, self._next(), "GET", params={"limit": 20})

    def _expect(self, status: int, api: Api, method: str, **options: Any) -> httpx.Response | None:
        try:
            response = api.client.request(method, "/api/v1/issues", **options)
        except httpx.TransportError as error:
            self.failures.append(f"{method}: {error!r}")
            return None
        if response.status_code != status:
            self.failures.append(f"{method}: {response.status_code} {response.text}")
            return None
        return response


@dataclass
class Installation:
    """Servers, API processes and workers of a release and of this tree, under traffic."""

    servers: Servers
    release: Release
    empty_directory: Path
    """The working directory of released processes. It is empty, so that they import only installed packages."""
    traffic: Traffic = field(default_factory=Traffic)
    _programs: list[RunningProcess] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database = Database(self.servers.database_url)
        self._env = {**self.servers.env, **SETTINGS}
        self._released_env = {**self._env, "PYTHONPATH": str(self.release.packages)}

    def migrate(self, code: Code) -> None:
        """Upgrade the schema to the head of the release or of this tree."""
        if code == "released":
            self.release.migrate(self.servers.env)
        else:
            migrate(self.servers)

    def start_api(self, code: Code) -> Api:
        """Start an API process and add it to the rotation when it is ready."""
        if code == "released":
            api = start_api(self._released_env, ("--factory", "api.app:create_app"), self.empty_directory)
        else:
            api = start_api(self._env)
        self._programs.append(api)
        wait_until(lambda: api.client.get("/readyz").status_code == 200, "the API to be ready")
        self.traffic.rotation.append(api)
        return api

    def start_worker(self, code: Code) -> RunningProcess:
        """Start a worker whose name in the ledger is `code`."""
        if code == "released":
            worker = start_worker(self._released_env, code, directory=self.empty_directory)
        else:
            worker = start_worker(self._env, code)
        self._programs.append(worker)
        return worker

    def replace_api(self, old: Api, code: Code) -> Api:
        """Start a new API process, then stop the old one while its messages are in flight."""
        new = self.start_api(code)
        with self._enrichments_blocked():
            self._fill_queue(old)
            self.traffic.remove_from_rotation(old)
            assert old.process.stop(DEADLINE_S), f"it had to be killed:\n{old.log}"
        return new

    def replace_worker(self, old: RunningProcess, code: Code) -> RunningProcess:
        """Start a new worker, then stop the old one while jobs are running and queued."""
        new = self.start_worker(code)
        with self._enrichments_blocked():
            self._fill_queue()
            self._wait_for_running(old.process.name)
            old.process.send(signal.SIGTERM)
            wait_until(lambda: old.log.has("Warm shutdown"), "the worker to begin its shutdown")
        assert old.process.stop(DEADLINE_S), f"it had to be killed:\n{old.log}"
        return new

    def wait_for_enriched(self, count: int, code: Code) -> None:
        """Wait until workers of the code have enriched `count` more issues."""
        target = self._enriched_by(code) + count
        wait_until(lambda: self._enriched_by(code) >= target, f"{count} more enriched by {code} code")

    def wait_for_contract(self, version: str, code: Code) -> None:
        """Wait until workers of the code have enriched an issue whose message has this contract version."""
        wait_until(lambda: self.count_enrichments()[version, code] > 0, f"contract {version} by {code} code")

    def wait_for_rejection(self, task: Task) -> None:
        """Wait until a worker has rejected a job of the task, which then waits for a newer worker."""
        # A queue contains two messages per worker process.
        waiting = "SELECT count(*) FROM job WHERE task = %s AND refused_since IS NOT NULL AND attempts = 0"
        wait_until(lambda: self.database.one(waiting, task) > 0, f"a rejection of {task}")
        assert self._dead() == []

    def finish(self) -> None:
        """Stop the traffic, wait until all jobs are done, and assert that each issue was enriched once."""
        self.traffic.stop()
        wait_until(lambda: self._unfinished() == 0 or self._dead() != [], "all jobs to be done")
        assert self._dead() == []
        assert self.traffic.failures == [], "\n".join([*self.traffic.failures, *self._errors()])
        assert {row["id"] for row in self.database.query("SELECT id::text FROM issue")} == {*self.traffic.accepted}
        assert self.database.query("""
            SELECT issue.id, count(enrichment.job_id) FROM issue
            LEFT JOIN enrichment ON issue_id = issue.id AND ai_summary IS NOT NULL
            GROUP BY issue.id HAVING count(enrichment.job_id) <> 1
        """) == []  # fmt: skip
        assert self.database.one("SELECT count(*) FROM job WHERE task = %s", Task.ENRICH_ISSUE) == len(
            self.traffic.accepted
        )
        assert self.database.query("SELECT * FROM dead_message") == []
        self._assert_broker_is_empty()

    def count_enrichments(self) -> Counter[tuple[str, str]]:
        """Return the number of enrichment jobs per contract version of the message and code of the worker."""
        rows = self.database.query(
            "SELECT message->>'contract_version' AS contract, split_part(worker, '@', 1) AS code, count(*) "
            "FROM job WHERE task = %s GROUP BY 1, 2 ORDER BY 1, 2",
            Task.ENRICH_ISSUE,
        )
        return Counter({(row["contract"], row["code"]): row["count"] for row in rows})

    def count_ended(self, task: Task) -> Counter[str]:
        """Return the number of jobs of the task per state."""
        rows = self.database.query("SELECT state, count(*) FROM job WHERE task = %s GROUP BY state", task)
        return Counter({row["state"]: row["count"] for row in rows})

    def wait_for_end_of(self, task: Task) -> None:
        """Wait until a job of the task has succeeded."""
        wait_until(lambda: self.count_ended(task)["succeeded"] > 0, f"a success of {task}")

    def summary(self) -> str:
        """Return a readable summary of the upgrade."""
        lines = [f"{len(self.traffic.accepted)} issues accepted, {len(self.traffic.failures)} requests failed"]
        lines += [
            f"  messages of contract {contract}, enriched by {code} code: {count}"
            for (contract, code), count in self.count_enrichments().items()
        ]
        lines += [f"  {task}: {dict(self.count_ended(task))}" for task in Task]
        return "\n".join(lines)

    def close(self) -> None:
        self.traffic.stop()
        for program in reversed(self._programs):
            if isinstance(program, Api):
                program.client.close()
            program.process.stop(DEADLINE_S)
        self.database.close()
        self.servers.close()

    @contextmanager
    def _enrichments_blocked(self) -> Iterator[None]:
        """Block the commits of all enrichments, as if they took longer."""
        connection = psycopg2.connect(self.servers.database_url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("LOCK TABLE enrichment IN SHARE MODE")
                yield
        finally:
            connection.close()

    def _fill_queue(self, api: Api | None = None) -> None:
        for _ in range(20):
            self.traffic.post(api)
        # A queue contains two messages per worker process.
        waiting = "SELECT count(*) FROM job WHERE state = 'queued' AND task = %s"
        wait_until(lambda: self.database.one(waiting, Task.ENRICH_ISSUE) > 1, "messages in flight")

    def _wait_for_running(self, code: str) -> None:
        program = "SELECT count(*) FROM job WHERE state = 'running' AND worker LIKE %s"
        wait_until(lambda: self.database.one(program, f"{code}@%") > 0, f"{code} code to run a job")

    def _enriched_by(self, code: str) -> int:
        return sum(
            count for (_, code_of_worker), count in self.count_enrichments().items() if code_of_worker == code
        )

    def _errors(self) -> list[str]:
        """Return all log lines with the level error."""
        return [line for program in self._programs for line in program.log.lines if '"level": "error"' in line]

    def _unfinished(self) -> int:
        found: int = self.database.one("SELECT count(*) FROM job WHERE state NOT IN ('succeeded', 'skipped')")
        return found

    def _dead(self) -> list[dict[str, Any]]:
        return self.database.query("SELECT task, last_error FROM job WHERE state = 'dead'")

    def _assert_broker_is_empty(self) -> None:
        with redis.Redis(port=self.servers.redis_port) as broker:
            wait_until(
                lambda: not any(broker.llen(name) for name in (*Queue, "refused")) and not broker.hlen("unacked"),
                "the broker to be empty",
            )
