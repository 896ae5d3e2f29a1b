"""The worker's engine, connections and sessions: psycopg2 with one small pool per child process."""

from time import monotonic
from typing import Any

from celery.signals import worker_process_init
from psycopg2.errors import ReadOnlySqlTransaction
from sqlalchemy import ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import InvalidatePoolError, OperationalError
from sqlalchemy.orm import sessionmaker

from app.settings import settings

IDLE_S = 1.0
"""A connection that was used within this time is not tested before its next use. `pool_pre_ping` would test it
each time, which is every fourth round trip of a short job."""

engine = create_engine(
    make_url(settings.database_url).set(drivername="postgresql+psycopg2"),
    # One connection for the task and one for the heartbeat that renews its lease.
    pool_size=2,
    max_overflow=0,
    # The parameters of a failed statement are issue texts, and its error goes to the ledger, the log and Flower.
    hide_parameters=True,
    # In autocommit mode there is nothing to roll back.
    skip_autocommit_rollback=True,
    connect_args={
        "application_name": "issuetracker-worker",
        "connect_timeout": 5,
        "options": "-c statement_timeout=15000 -c idle_in_transaction_session_timeout=60000",
        "keepalives_idle": 10,
        "tcp_user_timeout": 15000,
    },
)

autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
"""The same pool in autocommit mode: one round trip per statement, instead of three with BEGIN and COMMIT."""

SyncSessionLocal = sessionmaker(engine, expire_on_commit=False)


@event.listens_for(engine, "checkin")
def _record_use(_connection: Any, record: Any) -> None:
    record.info["used_at"] = monotonic()


@event.listens_for(engine, "checkout")
def _replace_if_stale(connection: Any, record: Any, _fairy: Any) -> None:
    """Replace all connections if this one was lost, or leads to a server that has become read-only.

    After a failover the name in DATABASE_URL leads to the new primary, which a new connection reaches.
    """
    used_at = record.info.get("used_at")
    if used_at is None:
        return  # new
    if monotonic() - used_at > IDLE_S:
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error  # the pool reconnects
    # The server reports changes of these settings with the result of any statement.
    reported = map(connection.info.parameter_status, ("in_hot_standby", "default_transaction_read_only"))
    if "on" in reported:
        raise InvalidatePoolError


@event.listens_for(engine, "handle_error")
def _replace_after_failover(context: ExceptionContext) -> Exception | None:
    """Treat a read-only server like a lost one: it is the old primary, and the statement had no effect."""
    error = context.original_exception
    if not isinstance(error, ReadOnlySqlTransaction):
        return None
    context.is_disconnect = True
    return OperationalError(None, None, error, connection_invalidated=True)


@worker_process_init.connect
def _discard_inherited_connections(**_: Any) -> None:
    # If two processes share a connection after a fork, they receive each other's results.
    engine.dispose(close=False)
