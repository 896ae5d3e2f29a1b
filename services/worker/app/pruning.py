"""Deletes what tells only of the past, a batch a transaction, so that nobody who writes waits for it.

An issue's runs stay with the issue, as does what they made; each dead job stays until a person decides on it.
"""

from datetime import timedelta
from time import monotonic

from sqlalchemy import Connection, Engine, insert, text

from app.metrics import pruning as metrics
from contracts import CONTRACT_VERSION
from contracts.ids import new_id
from contracts.messages import Prune
from contracts.names import QUEUE_OF, Task
from contracts.states import ENDED_STATES
from contracts.tables import Job

BATCH = 2000
"""Rows of one transaction."""

_ENDED = f"state IN ({', '.join(repr(state.value) for state in sorted(ENDED_STATES))})"

OLD = {
    # The conditions of the partial index.
    "job": f"{_ENDED} AND task <> '{Task.ENRICH_ISSUE}' AND finished_at < now() - :kept",
    # Of an issue's runs, which stay; any other job takes its own along. A job that is not over needs them yet.
    "job_failure": f"failed_at < now() - :kept AND (SELECT {_ENDED} FROM job WHERE job.id = job_id)",
    "dead_message": "state IN ('discarded', 'replayed') AND decided_at < now() - :kept",
    "operation": "state = 'finished' AND finished_at < now() - :kept",
}
"""By table, SQL: which rows are deleted; `:kept` is how long they are kept."""

# Rows by their place, for which no index is asked again. Whom another transaction holds is left to the next run.
_DELETE = """
DELETE FROM {table} WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM {table} WHERE {old} LIMIT {limit} FOR UPDATE SKIP LOCKED
))
"""

# Webhooks are few and their deliveries many: the ids are read one by one from the index.
_DELETED_WEBHOOK = """
WITH RECURSIVE told AS (
    (SELECT webhook_id AS id FROM webhook_delivery ORDER BY webhook_id LIMIT 1)
    UNION ALL
    SELECT (SELECT webhook_id FROM webhook_delivery WHERE webhook_id > told.id ORDER BY webhook_id LIMIT 1)
    FROM told WHERE id IS NOT NULL
)
SELECT id FROM told WHERE id IS NOT NULL AND NOT EXISTS (SELECT FROM webhook WHERE webhook.id = told.id) LIMIT 1
"""
_END_DELIVERIES = f"""
WITH chosen AS MATERIALIZED (
    SELECT job.id FROM webhook_delivery JOIN job ON job.id = job_id
    WHERE webhook_id = ({_DELETED_WEBHOOK})
    LIMIT {BATCH} FOR UPDATE OF job SKIP LOCKED
), ended AS (
    UPDATE job SET state = 'skipped', finished_at = now(), lease_until = NULL, note = 'the webhook was deleted'
    WHERE id = ANY(ARRAY(SELECT id FROM chosen)) AND state IN ('pending', 'queued', 'retrying')
)
DELETE FROM webhook_delivery WHERE job_id = ANY(ARRAY(SELECT id FROM chosen))
"""

STATEMENTS = {"webhook_delivery": _END_DELIVERIES} | {
    table: _DELETE.format(table=table, old=old, limit=BATCH) for table, old in OLD.items()
}
"""By table, SQL: deletes a batch of it, and ends what waits for a webhook that was deleted."""


def prune(engine: Engine, kept: timedelta, until: float) -> bool:
    """Delete what is older than `kept` until that moment of `time.monotonic`; tell whether that was all."""
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


def go_on(connection: Connection, before: Prune) -> None:
    """Insert the job that prunes what is left, in the caller's transaction."""
    message = Prune(contract_version=CONTRACT_VERSION, job_id=new_id(), request_id=before.request_id)
    task = Task.PRUNE
    connection.execute(
        insert(Job).values(id=message.job_id, task=task, queue=QUEUE_OF[task], message=message.as_json())
    )
