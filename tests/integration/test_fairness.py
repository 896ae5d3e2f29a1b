"""Urgent jobs first and fairness between projects, with a real API and a real worker."""

from collections import Counter

import redis

from contracts.ledger.classes import PriorityClass
from contracts.names import Task
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.database import Database
from tests.support.metrics import scrape
from tests.support.processes import Api
from tests.support.tasks import TASK
from tests.support.waiting import wait_until

FLOOD = 3000
APP = "tests.support.misbehaving_app"


def flood(database: Database, project: str, priority_class: PriorityClass, count: int = FLOOD) -> None:
    database.query(
        "INSERT INTO job (id, task, queue, message, project, priority_class) SELECT id, %s, 'issues',"
        " jsonb_build_object('contract_version', '1.0.0', 'job_id', id), %s, %s"
        " FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, %s)) AS made",
        TASK,
        project,
        int(priority_class),
        count,
    )


def count_done(database: Database) -> Counter[tuple[str, int]]:
    rows = database.query(
        "SELECT project, priority_class, count(*) FROM job WHERE state = 'succeeded' GROUP BY 1, 2"
    )
    return Counter({(row["project"], row["priority_class"]): row["count"] for row in rows})


def wait_for_pass(api: Api) -> None:
    """Wait for a complete pass of the dispatcher, in which it reads the limits of projects."""
    port = int(api.client.base_url.port or 0)
    ends: set[float] = set()

    def has_passed() -> bool:
        ends.add(scrape(port).one("dispatcher_last_pass_timestamp_seconds"))
        return len(ends) > 2  # the pass that ends first may have begun before

    wait_until(has_passed, "a pass of the dispatcher")


def test_critical_issue_is_enriched_before_imported_backlog(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, broker: redis.Redis
) -> None:
    api = new_api({})
    flood(database, "imported", PriorityClass.BACKGROUND)
    new_worker({}, app=APP)
    wait_until(lambda: len(count_done(database)) > 0, "the backlog to start")

    issue = {"title": "Outage", "project": "shop", "priority": "critical"}
    assert api.client.post("/api/v1/issues", json=issue).status_code == 201
    wait_until(lambda: count_done(database)["shop", PriorityClass.CRITICAL] >= 1, "the critical issue")

    # By the clock of the database, because the import continues while this process waits.
    overtaken = database.one(
        "SELECT count(*) FROM job JOIN job critical ON critical.project = 'shop' AND critical.task = %s"
        " WHERE job.project = 'imported' AND job.finished_at BETWEEN critical.created_at AND critical.finished_at",
        Task.ENRICH_ISSUE,
    )
    assert overtaken < FLOOD / 10, f"{overtaken} jobs of the import ran before the critical issue"
    wait_until(lambda: broker.llen("issues") <= 4, "at most two messages for each of the two worker processes")


def test_projects_that_flood_at_once_share_workers(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    """Also with two dispatchers, and although one project was first."""
    for project in ("first", "second", "third"):
        flood(database, project, PriorityClass.MEDIUM, 200)
    for _ in range(2):
        new_api({})
    new_worker({}, app=APP)

    wait_until(lambda: count_done(database).total() >= 150, "a quarter of the jobs")

    done = count_done(database)
    assert set(done) == {(project, PriorityClass.MEDIUM) for project in ("first", "second", "third")}
    assert max(done.values()) - min(done.values()) <= done.total() * 0.1, done


def test_lowest_class_gets_its_share_during_flood_of_urgent_jobs(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    flood(database, "urgent", PriorityClass.CRITICAL, 1000)
    flood(database, "import", PriorityClass.BACKGROUND, 1000)
    new_api({})
    new_worker({}, app=APP)

    wait_until(lambda: count_done(database).total() >= 200, "200 jobs")

    done = count_done(database)
    assert 5 <= done["import", PriorityClass.BACKGROUND] <= done["urgent", PriorityClass.CRITICAL] / 10, done


def test_project_with_limit_runs_one_job_at_once(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    """With two dispatchers. The other project uses the rest of the worker."""
    apis = [new_api({}) for _ in range(2)]
    share = {"project": "limited", "weight": 5, "running_max": 1}
    for api in apis:
        assert api.client.put("/api/v1/queues/projects", json=share).json() == share
    assert apis[0].client.get("/api/v1/queues/projects").json() == {"items": [share]}
    assert database.read_audit_log()[-1]["action"] == "project.share_set"
    for api in apis:
        wait_for_pass(api)
    for project in ("limited", "free"):
        flood(database, project, PriorityClass.CRITICAL, 100)
    seen: set[int] = set()

    def has_finished() -> bool:
        leased = "SELECT count(*) FROM job WHERE project = 'limited' AND state IN ('queued', 'running')"
        seen.update(database.one(leased) for _ in range(5))
        return count_done(database)["limited", PriorityClass.CRITICAL] >= 20

    new_worker({}, app=APP)
    wait_until(has_finished, "20 jobs of the limited project")

    assert seen <= {0, 1}
    assert count_done(database)["free", PriorityClass.CRITICAL] >= 20
