"""A listener of the event stream, as a test sees it."""

import json
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import httpx

from devstack.network import wait_until
from tests.support.processes import Api


@dataclass(frozen=True)
class ReceivedEvent:
    """An event as it arrived."""

    kind: str
    data: dict[str, Any]
    id: str


class Listener:
    """Reads a stream in a thread; what it has heard so far is in `received`, status reports aside."""

    def __init__(self, api: Api, last_id: str | None = None, headers: dict[str, str] | None = None) -> None:
        self.received: list[ReceivedEvent] = []
        self.statuses: list[dict[str, Any]] = []
        self.last_id = last_id or ""
        self.answer: httpx.Response | None = None
        self.ended = threading.Event()
        self._client = httpx.Client(base_url=api.client.base_url, timeout=60)
        self._headers = {**(headers or {}), **({"Last-Event-ID": last_id} if last_id else {})}
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(lambda: self.answer is not None, 30, "the stream's first bytes")
        assert self.answer is not None
        assert self.answer.status_code == 200, self.answer.status_code
        if "Last-Event-ID" not in self._headers:
            self.wait_for(lambda: bool(self.received), "the first event")
        return self

    def __exit__(self, *_error: object) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        """Break the connection off."""
        if self.answer is not None:
            with suppress(OSError):  # the server has ended it, and it is closed
                self.answer.extensions["network_stream"].get_extra_info("socket").shutdown(2)
        self._thread.join(timeout=30)

    def wait_for(self, condition: Any, what: str, timeout_s: float = 60) -> None:
        """Wait until what was heard is enough."""
        try:
            wait_until(condition, timeout_s, what)
        except TimeoutError as error:
            raise AssertionError(f"{error}; heard {self.received[-20:]}") from None

    def ids(self, kind: str) -> list[str]:
        """Return the issues that events of a kind were about, in order."""
        return [event.data["issue_id"] for event in self.received if event.kind == kind]

    def _read(self) -> None:
        try:
            with self._client.stream("GET", "/api/v1/events", headers=self._headers) as answer:
                self.answer = answer
                fields: dict[str, str] = {}
                for line in answer.iter_lines():
                    if line:
                        name, _, value = line.partition(": ")
                        fields[name] = value
                    else:
                        self._take(fields)
                        fields = {}
        except (httpx.HTTPError, OSError, ValueError):
            pass  # it was cut
        finally:
            self.ended.set()

    def _take(self, fields: dict[str, str]) -> None:
        if fields.get("event") == "status":
            self.statuses.append(json.loads(fields["data"]))
            return
        self.last_id = fields.get("id", self.last_id)
        if "event" in fields:
            self.received.append(ReceivedEvent(fields["event"], json.loads(fields["data"]), self.last_id))
