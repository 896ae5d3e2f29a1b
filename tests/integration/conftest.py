"""Fixtures of the integration tests: a fake model server and a database engine like that of a worker."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, make_url

from tests.support.completions import Completions
from tests.support.database import Database
from tests.support.servers import Servers


@pytest.fixture
def server() -> Iterator[Completions]:
    """Yield a fake model server that returns the configured responses."""
    server = Completions()
    yield server
    server.close()


@pytest.fixture
def engine(servers: Servers, database: Database) -> Iterator[Engine]:
    """Yield a psycopg2 engine on the emptied database."""
    del database
    engine = create_engine(make_url(servers.database_url).set(drivername="postgresql+psycopg2"))
    yield engine
    engine.dispose()
