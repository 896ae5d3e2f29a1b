"""The dispatcher, which publishes due jobs of the ledger as messages for Celery workers."""
