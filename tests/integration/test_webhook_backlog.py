"""Deliveries to a receiver that is down are postponed in bounded batches, once per pause."""

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

_INSERT_DUE_DELIVERIES = """
WITH made AS (
    INSERT INTO job (id, task, queue, message)
    SELECT gen_random_uuid(), 'app.tasks.webhooks.deliver', 'default', '{}' FROM generate_series(1, %s)
    RETURNING id
)
INSERT INTO webhook_delivery (job_id, webhook_id, event) SELECT id, %s, 'issue.created' FROM made
"""


def count_due_deliveries(database: Database, webhook_id: UUID) -> int:
    count: int = database.one(
        "SELECT count(*) FROM job JOIN webhook_delivery ON job_id = id WHERE webhook_id = %s AND run_at <= now()",
        webhook_id,
    )
    return count


def test_backlog_while_circuit_is_open_is_postponed_in_bounded_batches(
    engine: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "engine", engine)
    monkeypatch.setattr(store, "POSTPONED_MAX", 3)
    webhook_id, other_id = new_id(), new_id()
    database.query(_INSERT_DUE_DELIVERIES, 7, webhook_id)
    database.query(_INSERT_DUE_DELIVERIES, 2, other_id)
    message = DeliverWebhook(contract_version=CONTRACT_VERSION, job_id=new_id(), webhook_id=webhook_id)
    pause_ends = datetime.now(UTC) + timedelta(minutes=5)

    due_counts = []
    for _ in range(3):
        webhooks.deliver.on_circuit_open(message, pause_ends)
        due_counts.append(count_due_deliveries(database, webhook_id))

    assert due_counts == [4, 1, 0]
    assert count_due_deliveries(database, other_id) == 2, "deliveries of other webhooks must not wait"
    database.query(_INSERT_DUE_DELIVERIES, 1, webhook_id)
    webhooks.deliver.on_circuit_open(message, pause_ends)
    assert count_due_deliveries(database, webhook_id) == 1, "a new delivery must be postponed only when it runs"
    webhooks.deliver.on_circuit_open(message, pause_ends + timedelta(minutes=5))
    assert count_due_deliveries(database, webhook_id) == 0, "the next pause must postpone the delivery"
