"""Fixtures of the integration tests: a fake model server and a database engine like that of a worker."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, make_url

from tests.conftest import SHARED_SETTINGS, STOP_TIMEOUT_S
from tests.support.access import CLOSED, Tokens
from tests.support.completions import Completions
from tests.support.database import Database
from tests.support.processes import Api, start_api
from tests.support.servers import Servers


@pytest.fixture(scope="session")
def closed_api(servers: Servers) -> Iterator[Api]:
    """Yield an API that requires tokens, and checks those of its streams often."""
    # Without a limit per address, because the tests fail to authenticate more than 300 times a minute.
    settings = {**SHARED_SETTINGS, **CLOSED, "HEARTBEAT_SECONDS": "0.5", "RATE_LIMIT_ADDRESS": "0"}
    api = start_api({**servers.env, **settings})
    yield api
    api.client.close()
    api.process.stop(STOP_TIMEOUT_S)


@pytest.fixture
def tokens(closed_api: Api, database: Database) -> Tokens:
    """Return a factory of tokens on the emptied database."""
    del database
    return Tokens(closed_api)


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
