"""A real HTTP server with the OpenAI protocol that returns the responses and faults of a test."""

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
"""The API key of the client, which must not appear anywhere."""
TITLE, DESCRIPTION = "Export is empty", "The CSV export of a report has no rows since the last upgrade."
"""The issue that matches the response `GOOD`."""


@dataclass
class Request:
    """A request of a client."""

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
        """Return the data of the first user message."""
        issue: dict[str, str] = json.loads(self.messages[1]["content"])
        return issue


Step = Callable[["Handler", Request], None]
"""A function that responds to one request."""


class Completions:
    """Responds with one step per request, repeats the last step, and records all requests."""

    def __init__(self, *steps: Step) -> None:
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._steps = list(steps) or [completion(GOOD)]
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"completions": self}))
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def then(self, *steps: Step) -> None:
        """Replace the steps."""
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
    """Reads a complete request and runs the next step."""

    completions: Completions
    protocol_version = "HTTP/1.1"
    # Head and body are separate writes. With Nagle's algorithm, the body would wait for an acknowledgement.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        request = Request(self.path, {name.lower(): value for name, value in self.headers.items()}, raw)
        try:
            self.completions.next_step(request)(self, request)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client closed the connection

    def send(self, status: int, body: bytes, headers: Mapping[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


def completion(content_object: object, *, finish: str = "stop", usage: bool = True, **message: Any) -> Step:
    """Respond with a completion. `content_object` is its content, as text or as a JSON-serializable value."""
    content = (
        content_object if isinstance(content_object, str) or content_object is None else json.dumps(content_object)
    )
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
    """Respond with these bytes."""
    headers_by_name = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _: handler.send(status, body, headers_by_name)


def error_response(status: int, code: str | None = None, message: str = "no", **headers: str) -> Step:
    """Respond with an error in the format of the protocol."""
    return raw(
        json.dumps({"error": {"message": message, "code": code, "type": "error"}}).encode(), status, **headers
    )


def truncated_response(handler: Handler, request: Request) -> None:
    """Close the connection in the middle of the body."""
    del request
    handler.send(200, b'{"choices": [{"mess', {}, length=1000)
    handler.close_connection = True


def no_response(handler: Handler, request: Request) -> None:
    """Accept the request and never respond."""
    del request
    handler.completions.closing.wait(60)
    handler.close_connection = True


def slow_body(handler: Handler, request: Request) -> None:
    """Send spaces to keep the connection alive, as busy servers do, and never send the content."""
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
    """Send an endless body until the client closes the connection."""
    del request
    handler.send(200, b"", {}, length=10**12)
    chunk = b" " * 65_536
    while not handler.completions.closing.is_set():
        handler.wfile.write(chunk)


def prompt_injected(title: str, description: str) -> Step:
    """Respond as a model that obeys the injected text, inside and outside the schema."""
    injected_text = f"{title} {description}"
    content_object = {
        **GOOD,
        "summary": injected_text,
        "area": {"name": "api", "confidence": "high", "status": "closed"},
        "second_area": {"name": "security", "confidence": "high"},
        "priority": {"value": "critical", "reason": injected_text, "status": "closed"},
        "tags": ["pwned", "lang:zz"],
        "status": "closed",
        "duplicate_of": 1,
        "project": "root/admin",
        "delete": True,
    }
    call = {"id": "1", "type": "function", "function": {"name": "delete_issue", "arguments": "{}"}}
    return completion(content_object, tool_calls=[call], function_call=call["function"])
