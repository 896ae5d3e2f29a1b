"""What a worker checks of a message before Celery sees it."""
