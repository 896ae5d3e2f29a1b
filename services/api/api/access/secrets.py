"""Tokens as their holders have them: a prefix that is easy to find, 256 random bits, and a checksum.

A secret scanner finds `itk_` and, by the checksum, tells a token from a look-alike without asking the server. Only
the SHA-256 of a token is stored: of 256 random bits nobody finds the preimage, so that a slow password hash, which
every request would pay for, gains nothing.
"""

import secrets
from binascii import crc32
from hashlib import sha256

TOKEN_PREFIX = "itk_"
SESSION_PREFIX = "its_"
HINT_LENGTH = len(TOKEN_PREFIX) + 6
"""Characters that are kept in clear, so that a person can tell which token a configuration holds."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_BITS = 256
_RANDOM_LENGTH = 43
_CHECKSUM_LENGTH = 6


def new_secret(prefix: str) -> str:
    """Return a new token: the prefix, 43 random base-62 digits (256 bits), and the CRC-32 of both in six."""
    body = prefix + _base62(secrets.randbits(_RANDOM_BITS), _RANDOM_LENGTH)
    return body + _checksum(body)


def is_well_formed(secret: str, prefix: str) -> bool:
    """Tell whether it may be one of ours; what is not need not be looked up."""
    length = len(prefix) + _RANDOM_LENGTH + _CHECKSUM_LENGTH
    if len(secret) != length or not secret.startswith(prefix) or not secret.isascii():
        return False
    return secret[-_CHECKSUM_LENGTH:] == _checksum(secret[:-_CHECKSUM_LENGTH])


def digest(secret: str) -> bytes:
    """Return what is stored of a token: its SHA-256."""
    return sha256(secret.encode(errors="surrogateescape")).digest()


def _checksum(body: str) -> str:
    return _base62(crc32(body.encode()), _CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
