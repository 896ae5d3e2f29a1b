"""Builds the three headers that a receiver verifies."""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence

from contracts.webhook_secrets import PREFIX


def build_headers(delivery_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """Return the id, the timestamp (Unix seconds) and one signature per secret; one valid signature is enough."""
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(secret, delivery_id, timestamp, body) for secret in secrets),
    }


def _signature(secret: str, delivery_id: str, timestamp: int, body: bytes) -> str:
    key = b64decode(secret.removeprefix(PREFIX))
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    return "v1," + b64encode(hmac.digest(key, signed, "sha256")).decode()
