"""The dispatcher: from the ledger's due jobs to messages that Celery workers take."""
