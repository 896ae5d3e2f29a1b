"""Ports, paths and probes of the services. Tests compare the deployment files with these values."""

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

# Health checks of the containers, which run a program from the image. Kubernetes probes HTTP by itself.
PROBE = ("python", "-I", "-S", "probe.py")
API_PROBE = (*PROBE, "http", str(API_PORT), READINESS_PATH)
EXPORTER_PROBE = (*PROBE, "http", str(EXPORTER_PORT), LIVENESS_PATH)
FLOWER_PROBE = (*PROBE, "http", str(FLOWER_PORT), "/healthcheck")

ALIVE_FILE = "alive"
CONSUMING_FILE = "consuming"
HEARTBEAT_DIRECTORY = "/tmp"  # noqa: S108 - private to the container, and its only writable directory
WORKER_LIVENESS_PROBE = (*PROBE, "fresh", f"{HEARTBEAT_DIRECTORY}/{ALIVE_FILE}", "300")
"""300 s is far above the 30 s between attempts to reach the broker, so a broker outage restarts no worker."""
WORKER_READINESS_PROBE = (*PROBE, "fresh", f"{HEARTBEAT_DIRECTORY}/{CONSUMING_FILE}", "30")
