"""The parts of a database URL. SQLAlchemy also parses it, but its import takes a second."""

from typing import NamedTuple, Self

from psycopg2.extensions import parse_dsn

from contracts import network


class DatabaseAddress(NamedTuple):
    """The address, role and name of a database."""

    host: str
    port: int
    user: str
    database: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Return the parts of a URL that the settings have accepted."""
        parts = parse_dsn(url)
        port = int(parts.get("port", network.POSTGRES_PORT))
        return cls(parts.get("host", ""), port, parts["user"], parts["dbname"])
