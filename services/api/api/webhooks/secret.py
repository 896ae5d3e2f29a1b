"""Webhook secrets in the format of Standard Webhooks."""

import secrets
from base64 import b64encode

from contracts.webhook_secrets import PREFIX

_BYTES = 32


def new_webhook_secret() -> str:
    """Return a new secret: 256 random bits in base64, with the standard prefix."""
    return PREFIX + b64encode(secrets.token_bytes(_BYTES)).decode()
