"""An installation under traffic whose processes are replaced one by one, as an operator upgrades it."""

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
from devstack.network import wait_until
from tests.support.database import Database
from tests.support.processes import Api, Running, start_api, start_worker
from tests.support.released import Release
from tests.support.servers import Servers, migrate

Code = Literal["released", "new"]

# So soon that refusals, and what was lost on the way, show within a test.
SETTINGS = {
    "DISPATCH_POLL_SECONDS": "0.1",
    "REFUSED_RETRY_SECONDS": "0.5",  # the name that the release knows, and this tree still
    "LEASE_SECONDS": "5",
    "WORKER_CONCURRENCY": "1",
}
PAUSE_S = 0.1
WAIT_S = 60


class Traffic:
    """Posts issues one after the other, and reads pages of them, at each API process in turn."""

    def __init__(self) -> None:
        self.rotation: list[Api] = []
        self.accepted: list[str] = []
        self.failures: list[str] = []
        self._requests = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._flow, name="traffic", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(WAIT_S)

    def post(self, api: Api | None = None) -> None:
        """Post an issue to an API process, by default to the one whose turn it is."""
        with self._requests:
            api = api or self._next()
            answer = self._expect(201, api, "POST", json={"title": f"Printing fails on page {len(self.accepted)}"})
            if answer is not None:
                self.accepted.append(answer.json()["id"])

    def leave(self, api: Api) -> None:
        """Take an API process out of the rotation; its last request has then been answered."""
        with self._requests:
            self.rotation.remove(api)

    def _next(self) -> Api:
        self.rotation.append(self.rotation.pop(0))
        return self.rotation[-1]

    def _flow(self) -> None:
        while not self._stopping.wait(PAUSE_S):
            self.post()
            with self._requests:
                self._expect(200, self._next(), "GET", params={"limit": 20})

    def _expect(self, status: int, api: Api, method: str, **options: Any) -> httpx.Response | None:
        try:
            answer = api.client.request(method, "/api/v1/issues", **options)
        except httpx.TransportError as error:
            self.failures.append(f"{method}: {error!r}")
            return None
        if answer.status_code != status:
            self.failures.append(f"{method}: {answer.status_code} {answer.text}")
            return None
        return answer


@dataclass
class Installation:
    """Servers, API processes and workers, of a release and of this tree, with issues flowing in."""

    servers: Servers
    release: Release
    idle: Path
    """An empty directory, in which what runs finds only what is installed."""
    traffic: Traffic = field(default_factory=Traffic)
    _running: list[Running] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database = Database(self.servers.database_url)
        self._env = {**self.servers.env, **SETTINGS}
        self._released_env = {**self._env, "PYTHONPATH": str(self.release.packages)}

    def migrate(self, code: Code) -> None:
        """Bring the schema to the head of the release, or of this tree."""
        if code == "released":
            self.release.migrate(self.servers.env)
        else:
            migrate(self.servers)

    def start_api(self, code: Code) -> Api:
        """Start an API process, which takes its share of the requests once it is ready."""
        if code == "released":
            api = start_api(self._released_env, ("--factory", "api.app:create_app"), self.idle)
        else:
            api = start_api(self._env)
        self._running.append(api)
        wait_until(lambda: api.client.get("/readyz").status_code == 200, WAIT_S, "the API to be ready")
        self.traffic.rotation.append(api)
        return api

    def start_worker(self, code: Code) -> Running:
        """Start a worker; the ledger names it by the code that it runs."""
        if code == "released":
            worker = start_worker(self._released_env, code, directory=self.idle)
        else:
            worker = start_worker(self._env, code)
        self._running.append(worker)
        return worker

    def replace_api(self, old: Api, code: Code) -> Api:
        """Start another API process beside the old one, then stop that one, with its messages in flight."""
        new = self.start_api(code)
        with self._work_held():
            self._put_in_flight(old)
            self.traffic.leave(old)
            assert old.process.stop(WAIT_S), f"it had to be killed:\n{old.log}"
        return new

    def replace_worker(self, old: Running, code: Code) -> Running:
        """Start another worker beside the old one, then stop that one, with running and waiting jobs."""
        new = self.start_worker(code)
        with self._work_held():
            self._put_in_flight()
            self._wait_for_running(old.process.name)
            old.process.send(signal.SIGTERM)
            wait_until(lambda: old.log.has("Warm shutdown"), WAIT_S, "the worker to begin its end")
        assert old.process.stop(WAIT_S), f"it had to be killed:\n{old.log}"
        return new

    def wait_for_enriched(self, count: int, code: Code) -> None:
        """Wait until as many further issues were enriched by workers of the code."""
        goal = self._enriched_by(code) + count
        wait_until(lambda: self._enriched_by(code) >= goal, WAIT_S, f"{count} more enriched by {code} code")

    def wait_for_rejection(self, task: Task) -> None:
        """Wait until a worker has given a job of the task back, and it waits for a newer one."""
        waiting = "SELECT count(*) FROM job WHERE task = %s AND refused_since IS NOT NULL AND attempts = 0"
        wait_until(lambda: self.database.one(waiting, task) > 0, WAIT_S, f"a refusal of {task}")
        assert self._dead() == []

    def end(self) -> None:
        """Stop the traffic; wait until all jobs are done, and assert that each issue was enriched once."""
        self.traffic.stop()
        wait_until(lambda: self._unfinished() == 0 or self._dead() != [], WAIT_S, "all jobs to be done")
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
        """Return how many jobs each code has enriched, by the contract that their messages were written by."""
        rows = self.database.query(
            "SELECT message->>'contract_version' AS contract, split_part(worker, '@', 1) AS code, count(*) "
            "FROM job WHERE task = %s GROUP BY 1, 2 ORDER BY 1, 2",
            Task.ENRICH_ISSUE,
        )
        return Counter({(row["contract"], row["code"]): row["count"] for row in rows})

    def count_ended(self, task: Task) -> Counter[str]:
        """Return how many jobs of the task are in each state."""
        rows = self.database.query("SELECT state, count(*) FROM job WHERE task = %s GROUP BY state", task)
        return Counter({row["state"]: row["count"] for row in rows})

    def wait_for_end_of(self, task: Task) -> None:
        """Wait until a job of the task has succeeded."""
        wait_until(lambda: self.count_ended(task)["succeeded"] > 0, WAIT_S, f"a success of {task}")

    def summary(self) -> str:
        """Return what a person would want to read of the upgrade."""
        lines = [f"{len(self.traffic.accepted)} issues accepted, {len(self.traffic.failures)} requests failed"]
        lines += [
            f"  messages of contract {contract}, enriched by {code} code: {count}"
            for (contract, code), count in self.count_enrichments().items()
        ]
        lines += [f"  {task}: {dict(self.count_ended(task))}" for task in Task]
        return "\n".join(lines)

    def close(self) -> None:
        self.traffic.stop()
        for running in reversed(self._running):
            if isinstance(running, Api):
                running.client.close()
            running.process.stop(WAIT_S)
        self.database.close()
        self.servers.close()

    @contextmanager
    def _work_held(self) -> Iterator[None]:
        """Let no attempt commit its enrichment meanwhile, as if the work took longer."""
        connection = psycopg2.connect(self.servers.database_url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("LOCK TABLE enrichment IN SHARE MODE")
                yield
        finally:
            connection.close()

    def _put_in_flight(self, api: Api | None = None) -> None:
        for _ in range(20):
            self.traffic.post(api)
        waiting = "SELECT count(*) FROM job WHERE state = 'queued' AND task = %s"
        wait_until(lambda: self.database.one(waiting, Task.ENRICH_ISSUE) > 10, WAIT_S, "messages in flight")

    def _wait_for_running(self, code: str) -> None:
        running = "SELECT count(*) FROM job WHERE state = 'running' AND worker LIKE %s"
        wait_until(lambda: self.database.one(running, f"{code}@%") > 0, WAIT_S, f"{code} code to run a job")

    def _enriched_by(self, code: str) -> int:
        return sum(count for (_, by), count in self.count_enrichments().items() if by == code)

    def _errors(self) -> list[str]:
        """Return what the processes have logged of a request or a job that failed unexpectedly."""
        return [line for running in self._running for line in running.log.lines if '"level": "error"' in line]

    def _unfinished(self) -> int:
        found: int = self.database.one("SELECT count(*) FROM job WHERE state NOT IN ('succeeded', 'skipped')")
        return found

    def _dead(self) -> list[dict[str, Any]]:
        return self.database.query("SELECT task, last_error FROM job WHERE state = 'dead'")

    def _assert_broker_is_empty(self) -> None:
        with redis.Redis(port=self.servers.redis_port) as broker:
            wait_until(
                lambda: not any(broker.llen(name) for name in (*Queue, "refused")) and not broker.hlen("unacked"),
                WAIT_S,
                "the broker to be empty",
            )
