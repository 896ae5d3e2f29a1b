"""The jobs that prune: how they come about, what they leave to another, how they get along."""

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
from tests.integration.test_pruning import KEPT, OLD, make_job
from tests.support.database import Database
from tests.support.servers import Servers


def test_what_there_is_no_time_for_is_the_next_jobs(
    engine: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_job(database, Task.INDEX_ISSUE, JobState.SUCCEEDED, "40 days")
    monkeypatch.setattr(maintenance, "engine", engine)
    monkeypatch.setattr(maintenance, "PRUNE_SHARE", -1)
    message = Prune(contract_version=CONTRACT_VERSION, job_id=new_id(), request_id="the-first")

    effect = maintenance.prune.run(message)
    with engine.begin() as connection:
        effect(connection)

    (following,) = database.query("SELECT id, queue, state, message FROM job WHERE task = %s", Task.PRUNE)
    assert (following["queue"], following["state"]) == ("default", "pending")
    assert Prune.model_validate(following["message"]).request_id == "the-first"
    assert str(Prune.model_validate(following["message"]).job_id) == following["id"]


def test_two_runs_at_once_delete_each_row_once(engine: Engine, database: Database) -> None:
    for _ in range(5):
        make_job(database, Task.INDEX_ISSUE, JobState.SUCCEEDED, OLD)
    with engine.connect() as other:
        other.execute(text(pruning.STATEMENTS["job"]), {"kept": KEPT})

        assert pruning.prune(engine, KEPT, until=monotonic() + 60), "what another run holds is no reason to wait"

        assert database.one("SELECT count(*) FROM job") == 5
        other.commit()
    assert database.one("SELECT count(*) FROM job") == 0


def test_any_number_of_dispatchers_create_one_job_an_hour(servers: Servers, database: Database) -> None:
    noon = 490_000 * HOUR_S

    async def ask(*moments: float) -> int:
        async with open_database(ApiSettings(database_url=servers.database_url)) as pool:
            return sum(await asyncio.gather(*(prune_hourly(pool, moment) for moment in moments)))

    assert asyncio.run(ask(*(noon + second for second in range(0, HOUR_S, 360)))) == 1
    assert asyncio.run(ask(noon + HOUR_S, noon + 23 * HOUR_S)) == 0, "the first one still waits"
    assert database.one("SELECT count(*) FROM job") == 1
    database.query("UPDATE job SET state = 'succeeded', finished_at = now()")
    assert asyncio.run(ask(noon + 1, noon + HOUR_S, noon + HOUR_S + 1)) == 1
    for row in database.query("SELECT id, message FROM job"):
        assert str(Prune.model_validate(row["message"]).job_id) == row["id"]
        assert UUID(row["id"]).version == 7
