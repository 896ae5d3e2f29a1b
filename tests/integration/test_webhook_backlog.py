"""A backlog that waits for a receiver that is down is put off in bounded pieces, and once for a pause."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine

from app.tasks import webhooks
from app.webhooks import store
from contracts import CONTRACT_VERSION
from contracts.ids import new_id
from contracts.messages import DeliverWebhook
from tests.support.database import Database

_MAKE_DUE = """
WITH made AS (
    INSERT INTO job (id, task, queue, message)
    SELECT gen_random_uuid(), 'app.tasks.webhooks.deliver', 'default', '{}' FROM generate_series(1, %s)
    RETURNING id
)
INSERT INTO webhook_delivery (job_id, webhook_id, event) SELECT id, %s, 'issue.created' FROM made
"""


def due(database: Database, webhook_id: UUID) -> int:
    count: int = database.one(
        "SELECT count(*) FROM job JOIN webhook_delivery ON job_id = id WHERE webhook_id = %s AND run_at <= now()",
        webhook_id,
    )
    return count


def test_each_statement_is_bounded_and_none_comes_after_the_last(
    engine: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "engine", engine)
    monkeypatch.setattr(store, "POSTPONED_MAX", 3)
    hook, other = new_id(), new_id()
    database.query(_MAKE_DUE, 7, hook)
    database.query(_MAKE_DUE, 2, other)
    message = DeliverWebhook(contract_version=CONTRACT_VERSION, job_id=new_id(), webhook_id=hook)
    pause_ends = datetime.now(UTC) + timedelta(minutes=5)

    left = []
    for _ in range(3):
        webhooks.deliver.on_circuit_open(message, pause_ends)
        left.append(due(database, hook))

    assert left == [4, 1, 0]
    assert due(database, other) == 2, "others do not wait for it"
    database.query(_MAKE_DUE, 1, hook)
    webhooks.deliver.on_circuit_open(message, pause_ends)
    assert due(database, hook) == 1, "whatever still comes is put off by itself"
    webhooks.deliver.on_circuit_open(message, pause_ends + timedelta(minutes=5))
    assert due(database, hook) == 0, "the next pause"
