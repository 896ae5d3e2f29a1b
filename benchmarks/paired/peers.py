"""The peers, as the harness sees them: each a process in the peers' own environment, on a database of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.paired import jobs
from benchmarks.paired.processes import Started, Tail, running, start
from benchmarks.paired.results import Results
from benchmarks.paired.servers import Servers
from benchmarks.paired.sql import query
from devstack.process import Process
from tests.support.processes import ROOT

NAMES = ("rq", "dramatiq", "arq", "taskiq", "saq", "huey", "procrastinate", "pgqueuer")
PYTHON = ROOT / ".venv/bench/bin/python"
PREPARE_TIMEOUT_S = 60
FEED_TIMEOUT_S = 300
_TABLE = """
CREATE TABLE item (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL, ai_summary text, tags text,
    runs integer NOT NULL DEFAULT 0
)
"""


class PeerFailed(Exception):
    """A peer could not be run; the message says why."""


@dataclass(frozen=True)
class Peer:
    """One of them; its rows count how often they were worked on."""

    name: str
    env: dict[str, str]

    def _run(self, timeout_s: float, *arguments: str) -> None:
        tail = Tail()
        command = [str(PYTHON), "-m", "benchmarks.peers", self.name, *arguments]
        if Process(self.name, command, tail, cwd=ROOT, env=self.env).wait(timeout_s) != 0:
            raise PeerFailed(tail.lines[-1] if tail.lines else "ended without a word")

    def prepare(self) -> None:
        """Make its tables."""
        query(self.env["DATABASE_URL"], _TABLE)
        self._run(PREPARE_TIMEOUT_S, "prepare")

    def hand_over(self, count: int) -> None:
        """Make a backlog of so many rows."""
        self._run(FEED_TIMEOUT_S, "feed", str(count))

    def start_worker(self, **env: str) -> Started:
        """Start its worker, whoever stops it."""
        command = [str(PYTHON), "-m", "benchmarks.peers", self.name, "work"]
        return start(self.name, command, ROOT, {**self.env, **env})

    def done(self) -> int:
        """Return how many rows have been worked on."""
        return int(str(query(self.env["DATABASE_URL"], "SELECT count(*) FROM item WHERE runs > 0")[0][0]))

    def doubled(self) -> int | None:
        """Return how many rows have been worked on more than once."""
        return int(str(query(self.env["DATABASE_URL"], "SELECT count(*) FROM item WHERE runs > 1")[0][0]))

    def forget(self, servers: Servers) -> None:
        """Empty the table and the broker."""
        query(self.env["DATABASE_URL"], "TRUNCATE item")
        servers.flush()


def prepare(servers: Servers, results: Results, names: Sequence[str] = NAMES) -> list[Peer]:
    """Return those that can be run; why another cannot is kept in the results."""
    ready = []
    for name in names:
        servers.create(name)
        peer = Peer(name, servers.env(name))
        try:
            peer.prepare()
        except (PeerFailed, OSError) as error:
            results.kills[name] = {"missing": str(error)}
        else:
            ready.append(peer)
    return ready


def cost(servers: Servers, peers: Sequence[Peer], results: Results, rounds: int, count: int) -> None:
    """Let each drain a backlog that was there before its worker started, in turns."""
    for _ in range(rounds):
        for peer in peers:
            try:
                peer.forget(servers)
                peer.hand_over(count)
                with running(peer.start_worker()) as worker:
                    jobs.drained(peer.name, peer.done, worker, count, results)
            except (PeerFailed, SystemExit, TimeoutError) as error:
                results.kills[peer.name] = {"missing": str(error).splitlines()[-1]}
            peer.forget(servers)
