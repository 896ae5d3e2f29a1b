"""Decides what a key means, once the request is known to be allowed."""

import asyncio
import re
from dataclasses import dataclass
from hashlib import sha256

from fastapi import HTTPException, Request
from starlette.datastructures import URL

from api.access.principal import current_principal
from api.idempotency.repository import StoredAnswer, find_answer, take_key
from api.problems import invalid

HEADER = "Idempotency-Key"
SCOPE_ENTRY = "idempotency"
_LONG = 1024 * 1024
"""Bytes of a body, such as an import's, whose digest other requests should not wait for."""
_PIECE = 64 * 1024
_KEY = re.compile(r"[!-~]{1,255}")


@dataclass(slots=True)
class KeyUse:
    """A key that a request came with, and what is known of it; `fingerprint` is None until it was looked up."""

    key: str
    id: bytes = b""
    fingerprint: bytes | None = None
    is_replay: bool = False


class Replayed(Exception):
    """The request has been answered before."""

    def __init__(self, answer: StoredAnswer) -> None:
        super().__init__()
        self.answer = answer


async def answer_once(request: Request) -> None:
    """Let a request with a key pass only once; list it after what decides whether a request is allowed at all."""
    use: KeyUse | None = request.scope.get(SCOPE_ENTRY)
    if use is None:
        return
    if not _KEY.fullmatch(use.key):
        detail = "Idempotency-Key should be 1 to 255 visible ASCII characters"
        raise invalid(("header", HEADER), "idempotency_key", detail)
    database = request.app.state.database
    # Keys are each caller's own.
    caller = current_principal()
    use.id = _digest(str(caller.token_id or caller.name), use.key)
    if not await take_key(database, use.id):
        raise HTTPException(409, "A request with this Idempotency-Key is under way.", {"Retry-After": "1"})
    body = await request.body()
    if len(body) > _LONG:
        fingerprint = await asyncio.to_thread(_fingerprint, request.url, body)
    else:
        fingerprint = _fingerprint(request.url, body)
    answer = await find_answer(database, use.id)
    if answer is not None and answer.fingerprint != fingerprint:
        detail = "Idempotency-Key belongs to another request: take a new one"
        raise invalid(("header", HEADER), "idempotency_key_reused", detail)
    if answer is not None:
        use.is_replay = True
        raise Replayed(answer)
    use.fingerprint = fingerprint


def _fingerprint(url: URL, body: bytes) -> bytes:
    """Return a digest of the request, made piece by piece."""
    digest = sha256(f"{url.path}\x00{url.query}\x00".encode(errors="surrogateescape"))
    for start in range(0, len(body), _PIECE):
        digest.update(body[start : start + _PIECE].hex().encode())
    return digest.digest()


def _digest(*parts: str) -> bytes:
    return sha256("\x00".join(parts).encode(errors="surrogateescape")).digest()
