"""Idempotent POST requests: the Idempotency-Key header (draft-ietf-httpapi-idempotency-key).

A POST with a key runs in one transaction, which also stores its response. After a crash either both are stored or
neither, so a repeated request gets the response or does the work. A POST without a key is not affected.
"""

from api.idempotency.dependency import process_once
from api.idempotency.middleware import describe, get_key, install

__all__ = ["describe", "get_key", "install", "process_once"]
