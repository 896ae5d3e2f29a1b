"""Pruning jobs: creation, continuation and concurrency."""

import asyncio
from time import monotonic
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from api.database import open_database
from api.dispatch.pruning import HOUR_S, prune_hourly
from api.settings import ApiSettings
from app import pruning
from app.tasks import maintenance
from contracts import CONTRACT_VERSION
from contracts.ids import new_id
from contracts.messages import Prune
from contracts.names import Task
from contracts.states import JobState
from tests.integration.test_pruning import HISTORY_PERIOD, OLD_AGE, add_ended_job
from tests.support.database import Database
from tests.support.servers import Servers


def test_pruning_job_without_time_creates_next_job(
    engine: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_ended_job(database, Task.INDEX_ISSUE, JobState.SUCCEEDED, "40 days")
    monkeypatch.setattr(maintenance, "engine", engine)
    monkeypatch.setattr(maintenance, "PRUNE_SHARE", -1)
    message = Prune(contract_version=CONTRACT_VERSION, job_id=new_id(), request_id="the-first")

    effect = maintenance.prune.run(message)
    with engine.begin() as connection:
        effect(connection)

    (next_job,) = database.query("SELECT id, queue, state, message FROM job WHERE task = %s", Task.PRUNE)
    assert (next_job["queue"], next_job["state"]) == ("default", "pending")
    assert Prune.model_validate(next_job["message"]).request_id == "the-first"
    assert str(Prune.model_validate(next_job["message"]).job_id) == next_job["id"]


def test_concurrent_pruning_runs_delete_each_row_once(engine: Engine, database: Database) -> None:
    for _ in range(5):
        add_ended_job(database, Task.INDEX_ISSUE, JobState.SUCCEEDED, OLD_AGE)
    with engine.connect() as other:
        other.execute(text(pruning.STATEMENTS["job"]), {"kept": HISTORY_PERIOD})

        assert pruning.prune(engine, HISTORY_PERIOD, until=monotonic() + 60), (
            "rows that another run has locked must be skipped"
        )

        assert database.one("SELECT count(*) FROM job") == 5
        other.commit()
    assert database.one("SELECT count(*) FROM job") == 0


def test_concurrent_dispatchers_create_one_pruning_job_per_hour(servers: Servers, database: Database) -> None:
    noon = 490_000 * HOUR_S

    async def count_created_jobs(*times: float) -> int:
        async with open_database(ApiSettings(database_url=servers.database_url)) as pool:
            return sum(await asyncio.gather(*(prune_hourly(pool, now) for now in times)))

    assert asyncio.run(count_created_jobs(*(noon + second for second in range(0, HOUR_S, 360)))) == 1
    assert asyncio.run(count_created_jobs(noon + HOUR_S, noon + 23 * HOUR_S)) == 0, (
        "no job may be created while the first one is pending"
    )
    assert database.one("SELECT count(*) FROM job") == 1
    database.query("UPDATE job SET state = 'succeeded', finished_at = now()")
    assert asyncio.run(count_created_jobs(noon + 1, noon + HOUR_S, noon + HOUR_S + 1)) == 1
    for row in database.query("SELECT id, message FROM job"):
        assert str(Prune.model_validate(row["message"]).job_id) == row["id"]
        assert UUID(row["id"]).version == 7
