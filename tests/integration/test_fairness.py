"""Urgent jobs first and turns between projects, with a real API and a real worker."""

from collections import Counter

import redis

from contracts.ledger.classes import PriorityClass
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.database import Database
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


def test_critical_issue_is_enriched_before_imported_backlog(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, broker: redis.Redis
) -> None:
    api = new_api({})
    flood(database, "imported", PriorityClass.BACKGROUND)
    new_worker({}, app=APP)
    wait_until(lambda: len(count_done(database)) > 0, "the backlog to start")

    issue = {"title": "Outage", "project": "shop", "priority": "critical"}
    assert api.client.post("/api/v1/issues", json=issue).status_code == 201
    before = count_done(database)["imported", PriorityClass.BACKGROUND]
    wait_until(lambda: count_done(database)["shop", PriorityClass.CRITICAL] >= 1, "the critical issue")

    overtaken = count_done(database)["imported", PriorityClass.BACKGROUND] - before
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
