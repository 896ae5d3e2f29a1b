"""For the integration tests alone: servers of the world outside, and sessions as a worker has them."""

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import Session, sessionmaker

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
def sessions(servers: Servers, database: Database) -> Iterator[sessionmaker[Session]]:
    """Return sessions of psycopg2, on the emptied database."""
    del database
    engine = create_engine(make_url(servers.database_url).set(drivername="postgresql+psycopg2"))
    yield sessionmaker(engine)
    engine.dispose()
