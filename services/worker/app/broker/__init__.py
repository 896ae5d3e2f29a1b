"""Checks messages before Celery receives them, and stores rejected ones."""
