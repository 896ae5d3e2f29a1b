"""Where services listen and are probed; deployment files are compared with these in the tests."""

API_PORT = 8000
FLOWER_PORT = 5555
WORKER_METRICS_PORT = 9809
EXPORTER_PORT = 9808
POSTGRES_PORT = 5432
REDIS_PORT = 6379

BROKER_DB = 0
"""The Redis database of the queues."""
RESULT_DB = 1
"""The Redis database of `celery-task-meta-<task_id>`."""

LIVENESS_PATH = "/livez"
READINESS_PATH = "/readyz"
METRICS_PATH = "/metrics"

# Probes of containers, by the program that the images bring. Kubernetes probes HTTP by itself.
PROBE = ("python", "-I", "-S", "probe.py")
API_PROBE = (*PROBE, "http", str(API_PORT), READINESS_PATH)
EXPORTER_PROBE = (*PROBE, "http", str(EXPORTER_PORT), LIVENESS_PATH)
FLOWER_PROBE = (*PROBE, "http", str(FLOWER_PORT), "/healthcheck")

ALIVE_FILE = "alive"
CONSUMING_FILE = "consuming"
HEARTBEAT_DIRECTORY = "/tmp"  # noqa: S108 - a container's own, and all that it may write to
WORKER_LIVENESS_PROBE = (*PROBE, "fresh", f"{HEARTBEAT_DIRECTORY}/{ALIVE_FILE}", "300")
"""Far above the half minute between attempts to reach a broker that is away: an outage restarts no worker."""
WORKER_READINESS_PROBE = (*PROBE, "fresh", f"{HEARTBEAT_DIRECTORY}/{CONSUMING_FILE}", "30")
