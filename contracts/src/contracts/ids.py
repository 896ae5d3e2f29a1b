"""Identifiers of rows and messages."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Return a UUIDv7 (RFC 9562). These sort by creation time, and keyset pagination relies on that order."""
    return uuid7()
