"""Metrics of the rows that this worker prunes."""

from app.metrics.storage import counter

TABLES = ("dead_message", "issue", "job", "job_failure", "operation", "webhook_delivery")

ROWS = counter("pruned_rows_total", "Rows deleted because of their age, without cascaded deletes.", ["table"])

for _table in TABLES:
    ROWS.labels(_table)
