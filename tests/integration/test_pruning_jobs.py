"""Pruning jobs: continuation and concurrency."""

from time import monotonic

import pytest
from sqlalchemy import Engine, text

from app import pruning
from app.tasks import maintenance
from contracts import CONTRACT_VERSION
from contracts.ids import new_id
from contracts.messages import Prune
from contracts.names import Task
from contracts.states import JobState
from tests.integration.test_pruning import HISTORY_PERIOD, OLD_AGE, add_ended_job
from tests.support.database import Database


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
