"""Parses a server's Retry-After header (RFC 9110, section 10.2.3)."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def parse_retry_after(header: str | None) -> float | None:
    """Return the delay of a Retry-After header in seconds, or None if the header is missing or not valid."""
    if header is None:
        return None
    try:
        return float(header)
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(header)
    except ValueError:
        return None
    return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
