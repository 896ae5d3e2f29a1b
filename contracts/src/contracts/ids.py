"""Identifiers of rows and messages."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Return a UUIDv7 (RFC 9562): ids sort by the time at which they were made, which keyset pages rely on."""
    return uuid7()
