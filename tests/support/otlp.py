"""A real OTLP/HTTP receiver that stores spans and prints traces as trees.

`python -m tests.support.otlp` listens on port 4318 and prints each trace as it grows.
"""

import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

ERROR = 2


@dataclass(frozen=True)
class Span:
    """A received span."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    start_ns: int
    end_ns: int
    is_error: bool
    attributes: dict[str, Any] = field(hash=False)
    events: int

    @property
    def ms(self) -> float:
        return (self.end_ns - self.start_ns) / 1e6


def _value(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")


def parse(body: bytes) -> list[Span]:
    """Return the spans of one request."""
    return [
        Span(
            service={a.key: _value(a.value) for a in resource.resource.attributes}["service.name"],
            name=span.name,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            kind=span.kind,
            start_ns=span.start_time_unix_nano,
            end_ns=span.end_time_unix_nano,
            is_error=span.status.code == ERROR,
            attributes={a.key: _value(a.value) for a in span.attributes},
            events=len(span.events),
        )
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def tree(spans: list[Span]) -> list[str]:
    """Return one trace as indented lines. A span without a received parent is a root."""
    known = {span.span_id for span in spans}
    lines = []

    def add(span: Span, depth: int) -> None:
        mark = " ERROR" if span.is_error else ""
        lines.append(f"{'  ' * depth}{span.service.removeprefix('issuetracker-')}: {span.name}{mark}")
        for child in ordered:
            if child.parent_id == span.span_id:
                add(child, depth + 1)

    ordered = sorted(spans, key=lambda span: span.start_ns)
    for span in ordered:
        if span.parent_id not in known:
            add(span, 0)
    return lines


class Receiver:
    """Stores the received spans and raw requests. Responds with `status`, which a test can change."""

    def __init__(self, port: int = 0) -> None:
        self.spans: list[Span] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["content-length"]))
                if receiver.status == 200:
                    spans = parse(body)
                    receiver.bodies.append(body)
                    receiver.headers.append(dict(self.headers))
                    receiver.spans.extend(spans)
                self.send_response(receiver.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def trace(self, trace_id: str) -> list[Span]:
        return [span for span in list(self.spans) if span.trace_id == trace_id]

    def named(self, name: str) -> list[Span]:
        return [span for span in list(self.spans) if span.name == name]

    def traces(self) -> set[str]:
        return {span.trace_id for span in list(self.spans)}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def main() -> None:
    receiver = Receiver(4318)
    seen = 0
    while True:
        time.sleep(1)
        if (now := len(receiver.spans)) != seen:
            changed = {span.trace_id for span in receiver.spans[seen:now]}
            seen = now
            for trace_id in changed:
                sys.stdout.write("\n".join([f"trace {trace_id}", *tree(receiver.trace(trace_id)), ""]) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
