"""Unpack request bodies with `Content-Encoding: gzip` (RFC 9110, 8.4.1.3), within the limits of bodies."""

import asyncio
import zlib
from collections.abc import Mapping

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access.open_paths import SAFE_METHODS
from api.asgi import HttpMiddleware
from api.problems import problem
from contracts.validation import format_value

PIECE_BYTES = 64 * 1024
"""Bytes that are unpacked at once. One byte of gzip can become 1,032."""
MEMBERS_MAX = 1000
"""Members of one body or file. Each of them takes time even if it is empty."""
_WITH_GZIP_HEADER = 16 + zlib.MAX_WBITS
_ACCEPTED = {"Accept-Encoding": "gzip"}


class GzipBodies(HttpMiddleware):
    """Unpacks gzip while the body is read, returns 413 for more than `max_bytes`, and 415 for other encodings.

    `of_path` has other limits for single paths.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, of_path: Mapping[str, int]) -> None:
        super().__init__(app)
        self._max_bytes = max_bytes
        self._of_path = of_path

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        codings = _codings(scope)
        if not codings or scope["method"] in SAFE_METHODS:
            await self._app(scope, receive, send)
        elif codings in (["gzip"], ["x-gzip"]):
            described = {b"content-encoding", b"content-length"}
            scope["headers"] = [header for header in scope["headers"] if header[0] not in described]
            max_bytes = self._of_path.get(scope["path"], self._max_bytes)
            await self._app(scope, _Unpacking(receive, max_bytes).receive, send)
        else:
            shown = format_value(", ".join(codings))
            detail = f"The content encoding {shown} is not supported. Send the body unpacked, or as one gzip."
            await problem(415, detail, headers=_ACCEPTED)(scope, receive, send)


def _codings(scope: Scope) -> list[str]:
    """Return the codings of the body in the order of their application, without `identity`."""
    values = Headers(scope=scope).getlist("content-encoding")
    names = (name.strip().lower() for value in values for name in value.split(","))
    return [name for name in names if name not in {"", "identity"}]


class _Unpacking:
    """The unpacked body of one request."""

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._unpacked_bytes = 0
        self._packed = b""
        """Received bytes that are still packed."""
        self._is_received = False
        self._member = zlib.decompressobj(_WITH_GZIP_HEADER)
        self._members = 0
        self._is_complete = False
        """Whether at least one member was read to its end, and no other one has begun."""
        self._is_passed_on = False

    async def receive(self) -> Message:
        """Receive the next piece of the unpacked body (ASGI)."""
        while not self._is_passed_on:
            if piece := self._unpack():
                await asyncio.sleep(0)  # between the pieces of a long body, other requests run
                return {"type": "http.request", "body": piece, "more_body": True}
            if self._is_received:
                if not self._is_complete:
                    raise HTTPException(400, "The body is not valid gzip: it ends too early. Send all of it.")
                self._is_passed_on = True
                return {"type": "http.request", "body": b"", "more_body": False}
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._packed += message.get("body", b"")
            self._is_received = not message.get("more_body", False)
        return await self._receive()

    def _unpack(self) -> bytes:
        """Return the next unpacked bytes, or none if more packed ones are required."""
        while self._packed or self._member.unconsumed_tail:
            packed, self._packed = self._member.unconsumed_tail + self._packed, b""
            if self._is_complete:
                packed = packed.lstrip(b"\0")  # usual padding
                if not packed:
                    return b""
            try:
                piece = self._member.decompress(packed, PIECE_BYTES)
            except zlib.error as error:
                reason = str(error).rpartition(": ")[2]
                raise HTTPException(400, f"The body is not valid gzip: {reason}.") from None
            self._is_complete = self._member.eof
            if self._member.eof:
                self._begin_member()
            self._unpacked_bytes += len(piece)
            if self._unpacked_bytes > self._max_bytes:
                detail = f"The unpacked body has more than {self._max_bytes} bytes. Send a smaller one."
                raise HTTPException(413, detail)
            if piece:
                return piece
        return b""

    def _begin_member(self) -> None:
        """Prepare for another member, which may follow the one that has ended."""
        self._members += 1
        if self._members > MEMBERS_MAX:
            raise HTTPException(413, f"The gzip body has more than {MEMBERS_MAX} members. Compress it as one.")
        self._packed = self._member.unused_data
        self._member = zlib.decompressobj(_WITH_GZIP_HEADER)
