"""Repeat a request whose transaction was interrupted by a failover."""

from starlette.types import Message, Receive, Scope, Send

from api.access.open_paths import SAFE_METHODS
from api.asgi import HttpMiddleware
from api.database import CommitRecord, DatabaseUnavailable, commit_record, repeat_after_failover
from api.idempotency import get_key
from api.settings import MAX_BODY_BYTES


class RepeatAfterFailover(HttpMiddleware):
    """Runs a request again, once, if a failover interrupted it before it committed anything.

    A request with an Idempotency-Key is also run again if the outcome of its commit is unknown, because the stored
    response shows it.
    """

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        exchange = _Exchange(receive, send)
        before = dict(scope)

        async def run() -> None:
            # Routing adds its results to the scope.
            scope.clear()
            scope.update(before)
            await self._run(scope, exchange)

        await repeat_after_failover(run, is_repeatable=get_key(scope) is not None)

    async def _run(self, scope: Scope, exchange: "_Exchange") -> None:
        """Run the request; an outage of the database states whether all of the request may have an effect."""
        record = CommitRecord()
        token = commit_record.set(record)
        try:
            await self._app(scope, exchange.start_receiving(), exchange.send)
        except DatabaseUnavailable as error:
            has_effect = scope["method"] not in SAFE_METHODS
            error.may_be_committed = has_effect and (error.may_be_committed or record.has_commit)
            error.is_failover = error.is_failover and exchange.can_be_repeated
            raise
        finally:
            commit_record.reset(token)


class _Exchange:
    """The messages of one request. Its body is stored for a repetition, unless it is a long import."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._body = bytearray()
        self._body_size = 0
        self._is_complete = False
        self._has_response = False

    @property
    def can_be_repeated(self) -> bool:
        """Whether the body is stored and the response has not started."""
        return self._body_size <= MAX_BODY_BYTES and not self._has_response

    def start_receiving(self) -> Receive:
        """Return a function that receives the stored body first, as one message."""
        has_stored = bool(self._body) or self._is_complete

        async def receive() -> Message:
            nonlocal has_stored
            if has_stored:
                has_stored = False
                return {"type": "http.request", "body": bytes(self._body), "more_body": not self._is_complete}
            message = await self._receive()
            if message["type"] == "http.request":
                self._store(message.get("body", b""))
                self._is_complete = not message.get("more_body", False)
            return message

        return receive

    def _store(self, piece: bytes) -> None:
        self._body_size += len(piece)
        if self._body_size <= MAX_BODY_BYTES:
            self._body += piece
        else:
            self._body.clear()

    async def send(self, message: Message) -> None:
        """Send a message of the response."""
        self._has_response = True
        await self._send(message)
