"""For the integration tests alone: servers of the world outside, and a database engine as a worker has it."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, make_url

from tests.support.completions import Completions
from tests.support.database import Database
from tests.support.servers import Servers


@pytest.fixture
def server() -> Iterator[Completions]:
    """Yield a server that answers like a model, or as badly as it is told to."""
    server = Completions()
    yield server
    server.close()


@pytest.fixture
def engine(servers: Servers, database: Database) -> Iterator[Engine]:
    """Yield an engine of psycopg2, on the emptied database."""
    del database
    engine = create_engine(make_url(servers.database_url).set(drivername="postgresql+psycopg2"))
    yield engine
    engine.dispose()
