"""Statements of the harness itself, over one connection for each database."""

from functools import cache

import psycopg2
import psycopg2.extensions

NEW_ID = """encode(set_bit(set_bit(overlay(
    uuid_send(gen_random_uuid())
    PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6
), 52, 1), 53, 1), 'hex')::uuid"""
"""A UUIDv7 as the product makes its ids: 48 bits of milliseconds, and version 7 over a random UUID's 4. New rows
stand together at an index's end, which random ones do not."""


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
