"""Encryption of webhook secrets in the database with Fernet (AES-128-CBC, HMAC-SHA256); the keys are a setting.

A secret without encryption starts with `whsec_`. Encrypted ones are Fernet tokens, which do not.
"""

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

PREFIX = "whsec_"
KEY_LENGTH = 44
"""Characters of 32 bytes in base64. Its decoder ignores what follows the padding, such as another key."""


class UnreadableSecret(Exception):
    """No key decrypts a secret."""

    def __init__(self) -> None:
        super().__init__(
            "no key of SECRET_KEYS decrypts the webhook's secret. Add its key to those of the workers"
        )


def check_key(key: str) -> str:
    """Return the key; raise ValueError if it is not valid."""
    try:
        Fernet(key)
        is_valid = len(key) == KEY_LENGTH
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ValueError(
            "must be 32 bytes in URL-safe base64. Generate one with `openssl rand -base64 32 | tr +/ -_`"
        )
    return key


class WebhookSecrets:
    """Encrypts with the first key and decrypts with any. Without keys, secrets stay in clear text."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernets = [Fernet(key) for key in keys]

    def encrypt(self, secret: str) -> str:
        """Return what to store."""
        return self._fernets[0].encrypt(secret.encode()).decode() if self._fernets else secret

    def decrypt(self, stored: str) -> str:
        """Return the secret; raise UnreadableSecret if no key decrypts it."""
        if stored.startswith(PREFIX):
            return stored
        try:
            return MultiFernet(self._fernets).decrypt(stored).decode()
        except (InvalidToken, ValueError):
            # ValueError: there are no keys.
            raise UnreadableSecret from None

    def renew(self, stored: str) -> str:
        """Return the secret encrypted with the first key; raise UnreadableSecret if no key decrypts it."""
        return self.encrypt(self.decrypt(stored))

    def is_current(self, stored: str) -> bool:
        """Return whether the secret is encrypted with the first key. Requires a key."""
        try:
            self._fernets[0].decrypt(stored)
        except InvalidToken:
            return False
        return True
