"""Deletes old history in batches, each in its own transaction, so that writers do not wait for it.

Enrichment runs stay with their issue until it is erased. Dead jobs stay until a person decides on them.
"""

import json
from datetime import timedelta
from time import monotonic

from sqlalchemy import Connection, Engine, text

from app.metrics import pruning as metrics
from contracts import CONTRACT_VERSION
from contracts.ids import new_id
from contracts.ledger.decisions import skip_deliveries
from contracts.ledger.enqueue import ENQUEUE
from contracts.ledger.queries import PRUNABLE
from contracts.messages import Prune
from contracts.names import QUEUE_OF, Task

BATCH = 2000
"""Maximum rows per transaction."""

OLD = {
    **PRUNABLE,
    "dead_message": "state IN ('discarded', 'replayed') AND decided_at < now() - :kept",
    "operation": "state = 'finished' AND finished_at < now() - :kept",
}
"""SQL condition of the rows to delete, by table. `:kept` is the retention time."""

# Deletes by ctid, which needs no second index lookup. Locked rows are left to the next run.
_DELETE = """
DELETE FROM {table} WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM {table} WHERE {old} LIMIT {limit} FOR UPDATE SKIP LOCKED
))
"""

# A loose index scan: there are few webhooks and many deliveries.
_DELETED_WEBHOOK = """
WITH RECURSIVE found AS (
    (SELECT webhook_id AS id FROM webhook_delivery ORDER BY webhook_id LIMIT 1)
    UNION ALL
    SELECT (SELECT webhook_id FROM webhook_delivery WHERE webhook_id > found.id ORDER BY webhook_id LIMIT 1)
    FROM found WHERE id IS NOT NULL
)
SELECT id FROM found WHERE id IS NOT NULL AND NOT EXISTS (SELECT FROM webhook WHERE webhook.id = found.id) LIMIT 1
"""
_END_DELIVERIES = f"""
WITH chosen AS MATERIALIZED (
    SELECT job.id FROM webhook_delivery JOIN job ON job.id = job_id
    WHERE webhook_id = ({_DELETED_WEBHOOK})
    LIMIT {BATCH} FOR UPDATE OF job SKIP LOCKED
), ended AS (
    {skip_deliveries("SELECT id FROM chosen")}
)
DELETE FROM webhook_delivery WHERE job_id = ANY(ARRAY(SELECT id FROM chosen))
"""

STATEMENTS = {"webhook_delivery": _END_DELIVERIES} | {
    table: _DELETE.format(table=table, old=old, limit=BATCH) for table, old in OLD.items()
}
"""SQL statement that deletes a batch, by table. The first also ends deliveries of deleted webhooks."""


def prune(engine: Engine, kept: timedelta, until: float) -> bool:
    """Delete rows older than `kept` until the time `until` of `time.monotonic`; return whether none is left."""
    for table, statement in STATEMENTS.items():
        deleted = BATCH
        while deleted:
            if monotonic() > until:
                return False
            with engine.begin() as connection:
                deleted = connection.execute(
                    text(statement), {"kept": kept} if ":kept" in statement else {}
                ).rowcount
            metrics.ROWS.labels(table).inc(deleted)
    return True


def enqueue_rest(connection: Connection, before: Prune) -> None:
    """Insert a job that prunes the remaining rows, in the caller's transaction."""
    message = Prune(contract_version=CONTRACT_VERSION, job_id=new_id(), request_id=before.request_id)
    task = Task.PRUNE
    job = {"id": message.job_id, "task": task, "queue": QUEUE_OF[task]}
    connection.execute(ENQUEUE.expression, {**job, "message": json.dumps(message.as_json())})
