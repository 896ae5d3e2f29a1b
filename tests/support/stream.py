"""A listener of the event stream."""

import json
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import httpx

from tests.support.processes import Api
from tests.support.waiting import wait_until


@dataclass(frozen=True)
class ReceivedEvent:
    """A received event."""

    kind: str
    data: dict[str, Any]
    id: str


class Listener:
    """Reads a stream in a thread. Stores events in `received` and status reports in `statuses`.

    `reconnects`: resume after the end of a stream and after an error response, as the page does.
    """

    def __init__(
        self,
        api: Api,
        last_id: str | None = None,
        headers: dict[str, str] | None = None,
        *,
        reconnects: bool = False,
    ) -> None:
        self.received: list[ReceivedEvent] = []
        self.statuses: list[dict[str, Any]] = []
        self.last_id = last_id or ""
        self.response: httpx.Response | None = None
        self.ended = threading.Event()
        self._reconnects = reconnects
        self._disconnecting = threading.Event()
        self._client = httpx.Client(base_url=api.client.base_url, timeout=60)
        self._headers = {**(headers or {}), **({"Last-Event-ID": last_id} if last_id else {})}
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(lambda: self.response is not None, "the response of the stream")
        assert self.response is not None
        assert self.response.status_code == 200, self.response.status_code
        if "Last-Event-ID" not in self._headers:
            self.wait_for(lambda: bool(self.received), "the first event")
        return self

    def __exit__(self, *_error: object) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        """Close the connection."""
        self._disconnecting.set()
        if self.response is not None:
            with suppress(OSError):  # the server has already closed the connection
                self.response.extensions["network_stream"].get_extra_info("socket").shutdown(2)
        self._thread.join(timeout=30)

    def wait_for(self, condition: Any, description: str) -> None:
        """Wait until the received events meet the condition."""
        wait_until(
            condition,
            lambda: f"{description}; stream ended: {self.ended.is_set()}; received {self.received[-20:]}",
        )

    def ids(self, kind: str) -> list[str]:
        """Return the issue ids of the events of a kind, in order."""
        return [event.data["issue_id"] for event in self.received if event.kind == kind]

    def _read(self) -> None:
        self._read_stream()
        while self._reconnects and not self._disconnecting.wait(0.2):
            self._headers["Last-Event-ID"] = self.last_id
            self._read_stream()
        self.ended.set()

    def _read_stream(self) -> None:
        try:
            with self._client.stream("GET", "/api/v1/events", headers=self._headers) as response:
                self.response = response
                fields: dict[str, str] = {}
                for line in response.iter_lines():
                    if line:
                        name, _, value = line.partition(": ")
                        fields[name] = value
                    else:
                        self._store(fields)
                        fields = {}
        except (httpx.HTTPError, OSError, ValueError):
            pass  # the connection was closed

    def _store(self, fields: dict[str, str]) -> None:
        if fields.get("event") == "status":
            self.statuses.append(json.loads(fields["data"]))
            return
        self.last_id = fields.get("id", self.last_id)
        if "event" in fields:
            self.received.append(ReceivedEvent(fields["event"], json.loads(fields["data"]), self.last_id))
