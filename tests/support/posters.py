"""Clients that post issues one after another, and what they were answered."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to one POST; `status` is None if there was none."""

    title: str
    at: float
    """Of `time.monotonic()`, when the response arrived."""
    status: int | None
    issue_id: str | None
    detail: str


class Posters:
    """Threads that post until `stop`."""

    def __init__(self, url: str, clients: int) -> None:
        self._url = f"{url}/api/v1/issues"
        self._answers: list[Answer] = []
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._post_all, args=(number,), daemon=True) for number in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def answers(self) -> list[Answer]:
        """The answers so far, in order."""
        return list(self._answers)

    def count(self, is_counted: Callable[[Answer], bool]) -> int:
        """Return the number of answers that meet the condition."""
        return sum(map(is_counted, self.answers))

    def stop(self) -> None:
        """Wait until each client has received its last answer."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)

    def _post_all(self, number: int) -> None:
        with httpx.Client(timeout=60) as client:
            count = 0
            while not self._stopping.wait(PAUSE_S):
                count += 1
                self._answers.append(self._post(client, f"Client {number}, issue {count}"))

    def _post(self, client: httpx.Client, title: str) -> Answer:
        try:
            response = client.post(self._url, json={"title": title})
        except httpx.TransportError as error:
            return Answer(title, time.monotonic(), None, None, repr(error))
        body = response.json()
        return Answer(title, time.monotonic(), response.status_code, body.get("id"), body.get("detail", ""))
