"""Repeating a POST without repeating its effect: the Idempotency-Key header (draft-ietf-httpapi-idempotency-key).

A POST with a key runs in one transaction, which also stores its answer. So whatever is killed in between, either
both are there or neither, and a repetition gets the answer, or does the work. A POST without a key passes by.
"""

from api.idempotency.dependency import answer_once
from api.idempotency.middleware import describe, install

__all__ = ["answer_once", "describe", "install"]
