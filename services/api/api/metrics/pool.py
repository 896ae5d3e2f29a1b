"""Metrics of the database connection pool, read at each scrape."""

from typing import TYPE_CHECKING

from prometheus_client import Gauge

if TYPE_CHECKING:
    import asyncpg

CONNECTIONS = Gauge("issuetracker_db_pool_connections", "Database connections of the pool.", ["state"])
SIZE_MAX = Gauge("issuetracker_db_pool_size_max", "Maximum number of connections of the pool.")

for _state in ("idle", "in_use"):
    CONNECTIONS.labels(_state)


def export_pool(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    """Export the metrics of this pool."""
    CONNECTIONS.labels("idle").set_function(pool.get_idle_size)
    CONNECTIONS.labels("in_use").set_function(lambda: pool.get_size() - pool.get_idle_size())
    SIZE_MAX.set(pool.get_max_size())
