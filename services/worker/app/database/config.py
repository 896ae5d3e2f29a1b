"""The worker's engine and sessions: psycopg2, one small pool a child process."""

from typing import Any

from celery.signals import worker_process_init
from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import sessionmaker

from app.settings import settings

engine = create_engine(
    make_url(settings.database_url).set(drivername="postgresql+psycopg2"),
    # One connection for the task and one for the heartbeat that renews its lease.
    pool_size=2,
    max_overflow=0,
    pool_pre_ping=True,
    # A failed statement's values are issue texts; its error goes to the ledger, the log and Flower.
    hide_parameters=True,
    connect_args={
        "application_name": "issuetracker-worker",
        "connect_timeout": 5,
        "options": "-c statement_timeout=15000 -c idle_in_transaction_session_timeout=60000",
        "keepalives_idle": 10,
        "tcp_user_timeout": 15000,
    },
)

SyncSessionLocal = sessionmaker(engine, expire_on_commit=False)


@worker_process_init.connect
def _forget_parents_connections(**_: Any) -> None:
    # A connection shared across fork mixes two processes' answers.
    engine.dispose(close=False)
