"""A real HTTP server that speaks the OpenAI protocol as badly as a test tells it to."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOOD = {
    "summary": "The export of a report has no rows",
    "type": {"name": "bug", "confidence": "high"},
    "area": {"name": "backend", "confidence": "medium"},
    "second_area": None,
    "priority": None,
}
MODEL = "scripted-1"
PROMPT_TOKENS, COMPLETION_TOKENS = 900, 60
KEY = "sk-test-0123456789abcdef"
"""What a client calls itself with; nothing may show it."""
TITLE, DESCRIPTION = "Export is empty", "The CSV export of a report has no rows since the last upgrade."
"""The issue that `GOOD` answers."""


@dataclass
class Request:
    """What a client sent."""

    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.raw)
        return body

    @property
    def messages(self) -> list[dict[str, str]]:
        messages: list[dict[str, str]] = self.body["messages"]
        return messages

    @property
    def issue(self) -> dict[str, str]:
        """The data of the first user message."""
        issue: dict[str, str] = json.loads(self.messages[1]["content"])
        return issue


Step = Callable[["Handler", Request], None]
"""How one request is answered."""


class Completions:
    """Answers by its steps, one a request, the last one for ever; keeps what it was asked."""

    def __init__(self, *steps: Step) -> None:
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._steps = list(steps) or [completion(GOOD)]
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"completions": self}))
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def then(self, *steps: Step) -> None:
        """Answer by these steps from now on."""
        with self._lock:
            self._steps = list(steps)

    def next_step(self, request: Request) -> Step:
        with self._lock:
            self.requests.append(request)
            return self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    """Reads a request whole and lets a step answer it."""

    completions: Completions
    protocol_version = "HTTP/1.1"
    # Head and body are written apart, and the second would wait for the first one's acknowledgement.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        request = Request(self.path, {name.lower(): value for name, value in self.headers.items()}, raw)
        try:
            self.completions.next_step(request)(self, request)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has had enough

    def send(self, status: int, body: bytes, headers: Mapping[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


def completion(answer: object, *, finish: str = "stop", usage: bool = True, **message: Any) -> Step:
    """Answer with a completion; `answer` is its content, as text or as what becomes JSON."""
    content = answer if isinstance(answer, str) or answer is None else json.dumps(answer)
    body: dict[str, Any] = {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": content, **message},
            }
        ],
    }
    if usage:
        total = PROMPT_TOKENS + COMPLETION_TOKENS
        body["usage"] = {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": COMPLETION_TOKENS,
            "total_tokens": total,
        }
    return raw(json.dumps(body).encode())


def raw(body: bytes, status: int = 200, **headers: str) -> Step:
    """Answer with these bytes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _: handler.send(status, body, named)


def error_response(status: int, code: str | None = None, message: str = "no", **headers: str) -> Step:
    """Answer with an error as the protocol writes it."""
    return raw(
        json.dumps({"error": {"message": message, "code": code, "type": "error"}}).encode(), status, **headers
    )


def truncated_response(handler: Handler, request: Request) -> None:
    """Close the connection in the middle of the body."""
    del request
    handler.send(200, b'{"choices": [{"mess', {}, length=1000)
    handler.close_connection = True


def no_response(handler: Handler, request: Request) -> None:
    """Take the request and never answer."""
    del request
    handler.completions.closing.wait(60)
    handler.close_connection = True


def slow_body(handler: Handler, request: Request) -> None:
    """Keep the connection alive with blanks, as busy servers do, and never come to the answer."""
    del request
    handler.send(200, b"", {}, length=10_000)
    _drip(handler, b" ")


def slow_headers(handler: Handler, request: Request) -> None:
    """Send a header that never ends."""
    del request
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
    _drip(handler, b"a")


def _drip(handler: Handler, drop: bytes) -> None:
    while not handler.completions.closing.wait(0.05):
        handler.wfile.write(drop)
        handler.wfile.flush()


def endless_body(handler: Handler, request: Request) -> None:
    """Answer with more than anybody should read, until the client closes the connection."""
    del request
    handler.send(200, b"", {}, length=10**12)
    chunk = b" " * 65_536
    while not handler.completions.closing.is_set():
        handler.wfile.write(chunk)


def prompt_injected(title: str, description: str) -> Step:
    """Answer as a model that does what the text says, within the schema and beside it."""
    orders = f"{title} {description}"
    answer = {
        **GOOD,
        "summary": orders,
        "area": {"name": "api", "confidence": "high", "status": "closed"},
        "second_area": {"name": "security", "confidence": "high"},
        "priority": {"value": "critical", "reason": orders, "status": "closed"},
        "tags": ["pwned", "lang:zz"],
        "status": "closed",
        "duplicate_of": 1,
        "project": "root/admin",
        "delete": True,
    }
    call = {"id": "1", "type": "function", "function": {"name": "delete_issue", "arguments": "{}"}}
    return completion(answer, tool_calls=[call], function_call=call["function"])
