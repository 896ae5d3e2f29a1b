"""The pool of connections to the database, looked at when it is asked for."""

from typing import TYPE_CHECKING

from prometheus_client import Gauge

if TYPE_CHECKING:
    import asyncpg

CONNECTIONS = Gauge("issuetracker_db_pool_connections", "Connections to the database.", ["state"])
SIZE_MAX = Gauge("issuetracker_db_pool_size_max", "Connections that the pool may open.")

for _state in ("idle", "in_use"):
    CONNECTIONS.labels(_state)


def export_pool(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    """Tell of this pool from now on."""
    CONNECTIONS.labels("idle").set_function(pool.get_idle_size)
    CONNECTIONS.labels("in_use").set_function(lambda: pool.get_size() - pool.get_idle_size())
    SIZE_MAX.set(pool.get_max_size())
