"""Rows of the past that this worker's commits delete."""

from app.metrics.storage import counter

TABLES = ("dead_message", "job", "job_failure", "operation", "webhook_delivery")

ROWS = counter(
    "pruned_rows_total", "Rows deleted because of their age; what goes with a row is not counted.", ["table"]
)

for _table in TABLES:
    ROWS.labels(_table)
