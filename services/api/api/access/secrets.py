"""Format of tokens: a recognizable prefix, 256 random bits, and a checksum.

Secret scanners find the prefix `itk_` and verify the checksum without contacting the server. Only the SHA-256 of a
token is stored. A preimage of 256 random bits cannot be found, so a slow password hash would only cost time.
"""

import secrets
from binascii import crc32
from hashlib import sha256

TOKEN_PREFIX = "itk_"
SESSION_PREFIX = "its_"
HINT_LENGTH = len(TOKEN_PREFIX) + 6
"""Characters stored in clear, so that a user can identify the token in a configuration."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_BITS = 256
_RANDOM_LENGTH = 43
_CHECKSUM_LENGTH = 6


def new_secret(prefix: str) -> str:
    """Return a new secret: the prefix, 43 random base-62 digits (256 bits), and their CRC-32 in six digits."""
    body = prefix + _base62(secrets.randbits(_RANDOM_BITS), _RANDOM_LENGTH)
    return body + _checksum(body)


def is_well_formed(secret: str, prefix: str) -> bool:
    """Return whether a secret has the prefix, length and checksum; others need no lookup."""
    length = len(prefix) + _RANDOM_LENGTH + _CHECKSUM_LENGTH
    if len(secret) != length or not secret.startswith(prefix) or not secret.isascii():
        return False
    return secret[-_CHECKSUM_LENGTH:] == _checksum(secret[:-_CHECKSUM_LENGTH])


def digest(secret: str) -> bytes:
    """Return the SHA-256 of a secret, which is stored in its place."""
    return sha256(secret.encode(errors="surrogateescape")).digest()


def _checksum(body: str) -> str:
    return _base62(crc32(body.encode()), _CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
