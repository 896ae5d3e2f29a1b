"""Prepares what API processes and workers do before they read their settings, once for all forks of a process."""

import gc
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = [str(ROOT / "services/api"), str(ROOT / "services/worker")]
MODULES = (
    *(
        "api.app",
        "app.enrichment.embedding",
        "contracts.tables",
        "uvicorn.main",
        "uvicorn.protocols.http.auto",
        "uvicorn.lifespan.on",
    ),
    *("celery.apps.worker", "celery.bin.celery", "celery.concurrency.prefork", "celery.worker.consumer"),
    *("alembic.config", "alembic.command", "alembic.runtime.migration", "logging.config", "psycopg2.extras"),
    *("httpcore2", "kombu.transport.redis", "sqlalchemy.dialects.postgresql.psycopg2", "tenacity"),
)

sys.path[:0] = PROGRAMS
for module in MODULES:
    import_module(module)
local, interface = (import_module(f"app.enrichment.{name}") for name in ("local", "interface"))
# The first enrichment loads the models.
local.LocalEnricher().enrich(interface.IssueText("The page is empty", "It has been since the last update."))
del sys.path[: len(PROGRAMS)]

# Celery collects garbage before each fork of a child. Without this, it would visit all of these objects.
gc.collect()
gc.freeze()
