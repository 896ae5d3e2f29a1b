"""Statements of the harness itself, over one connection for each database."""

from functools import cache

import psycopg2
import psycopg2.extensions


def query(url: str, sql: str) -> list[tuple[object, ...]]:
    """Run one statement and commit it; return what it answers."""
    with _connection(url).cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


@cache
def _connection(url: str) -> psycopg2.extensions.connection:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    return connection
