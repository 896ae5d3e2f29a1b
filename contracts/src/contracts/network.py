"""Where services listen and are probed; deployment files are compared with these in the tests."""

API_PORT = 8000
FLOWER_PORT = 5555
POSTGRES_PORT = 5432
REDIS_PORT = 6379

BROKER_DB = 0
"""The Redis database of the queues."""
RESULT_DB = 1
"""The Redis database of `celery-task-meta-<task_id>`."""

LIVENESS_PATH = "/livez"
READINESS_PATH = "/readyz"
METRICS_PATH = "/metrics"
