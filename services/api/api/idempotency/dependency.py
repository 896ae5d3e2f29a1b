"""Check the key of a request after its authorization."""

import asyncio
import re
from dataclasses import dataclass
from hashlib import sha256

from fastapi import HTTPException, Request
from starlette.datastructures import URL

from api.access.principal import current_principal
from api.idempotency.repository import StoredResponse, find_response, lock_key
from api.problems import invalid

HEADER = "Idempotency-Key"
SCOPE_ENTRY = "idempotency"
_LONG_BODY = 1024 * 1024
"""Bytes of a body, such as an import's, whose digest is computed in a thread."""
_CHUNK = 64 * 1024
_KEY = re.compile(r"[!-~]{1,255}")


@dataclass(slots=True)
class KeyUse:
    """The key of a request; `fingerprint` is None until the key was looked up."""

    key: str
    id: bytes = b""
    fingerprint: bytes | None = None
    is_replay: bool = False


class Replayed(Exception):
    """The request is a repetition, and `stored` is its stored response."""

    def __init__(self, stored: StoredResponse) -> None:
        super().__init__()
        self.stored = stored


async def process_once(request: Request) -> None:
    """Process a request with a key only once. This dependency belongs after authorization."""
    use: KeyUse | None = request.scope.get(SCOPE_ENTRY)
    if use is None:
        return
    if not _KEY.fullmatch(use.key):
        detail = "The key is not valid. Use 1 to 255 visible ASCII characters."
        raise invalid(("header", HEADER), "idempotency_key", detail)
    database = request.app.state.database
    # Each caller has its own keys.
    use.id = _digest(current_principal().key, use.key)
    if not await lock_key(database, use.id):
        raise HTTPException(
            409, "A request with this Idempotency-Key is in progress. Try again in 1 second.", {"Retry-After": "1"}
        )
    body = await request.body()
    if len(body) > _LONG_BODY:
        fingerprint = await asyncio.to_thread(_fingerprint, request.url, body)
    else:
        fingerprint = _fingerprint(request.url, body)
    stored = await find_response(database, use.id)
    if stored is not None and stored.fingerprint != fingerprint:
        detail = "The key belongs to a different request. Use a new key."
        raise invalid(("header", HEADER), "idempotency_key_reused", detail)
    if stored is not None:
        use.is_replay = True
        raise Replayed(stored)
    use.fingerprint = fingerprint


def _fingerprint(url: URL, body: bytes) -> bytes:
    """Return a digest of the request, computed in pieces."""
    digest = sha256(f"{url.path}\x00{url.query}\x00".encode(errors="surrogateescape"))
    for start in range(0, len(body), _CHUNK):
        digest.update(body[start : start + _CHUNK].hex().encode())
    return digest.digest()


def _digest(*parts: str) -> bytes:
    return sha256("\x00".join(parts).encode(errors="surrogateescape")).digest()
