"""The gauges that follow from what was found; of a server that is away there is only that it is."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from api.exporter.broker import BrokerState
from api.exporter.database import DatabaseState, JobCount
from api.metrics.labels import known_or_other
from api.schema import revisions
from contracts.messages import Skew, skew
from contracts.names import QUEUE_OF, Queue, Task
from contracts.states import JobState

STATES = (JobState.PENDING, JobState.QUEUED, JobState.RUNNING, JobState.RETRYING, JobState.DEAD)
"""Those of jobs that have not ended well."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot(Collector):
    """What one scrape found; `queue_bound` is how many messages may wait in a queue."""

    database: DatabaseState | None
    broker: BrokerState | None
    queue_bound: int

    def collect(self) -> Iterator[Metric]:
        """Return all that is known."""
        yield gauge("database_up", "Whether PostgreSQL answers.", self.database is not None)
        if self.database is not None:
            yield from _server(self.database)
            yield from _ledger(self.database)
            yield from self._lag(self.database)
        yield gauge("redis_up", "Whether Redis answers.", self.broker is not None)
        if self.broker is not None:
            yield from _broker(self.broker)

    def _lag(self, state: DatabaseState) -> Iterator[Metric]:
        if state.oldest_unpublished is None:
            return
        lag = {queue: age or 0 for queue, age in state.oldest_unpublished.items() if self._has_room(queue)}
        what = "How long the oldest job has waited to be published that should have been."
        yield labelled("dispatcher_lag_seconds", what, Queue, lag)

    def _has_room(self, queue: str) -> bool:
        """Tell whether the dispatcher has no reason to let jobs of the queue wait.

        While there are jobs it keeps a queue filled to its bound; less than half of that are no jitter.
        """
        return self.broker is None or self.broker.messages[queue] < self.queue_bound / 2


def gauge(name: str, what: str, value: float) -> Metric:
    """Return a gauge without labels."""
    return GaugeMetricFamily(f"issuetracker_{name}", what, value)


def labelled(name: str, what: str, words: type[StrEnum], values: Mapping[str, float | None]) -> Metric:
    """Return a gauge with one label, of the words' own name; 0 for each word that has no value."""
    family = GaugeMetricFamily(f"issuetracker_{name}", what, labels=[_LABEL[words]])
    for word in words:
        family.add_metric([word], values.get(word) or 0)
    return family


_LABEL: dict[type[StrEnum], str] = {Queue: "queue", Task: "task", Skew: "contract"}


def _server(state: DatabaseState) -> Iterator[Metric]:
    yield gauge("database_size_bytes", "Bytes of the database on disk.", state.size)
    yield gauge("database_connections", "Connections to the database, of whomever.", state.connections)
    yield gauge(
        "schema_at_head", "Whether all migrations of this version are done.", state.version == revisions()[0]
    )


def _ledger(state: DatabaseState) -> Iterator[Metric]:
    if state.oldest_due is not None:
        what = "Age of the oldest job that is due and has not begun."
        yield labelled("oldest_due_job_age_seconds", what, Queue, state.oldest_due)
    if state.open_circuits is not None:
        what = "Whether the task's jobs wait for its provider."
        yield labelled("circuit_open", what, Task, dict.fromkeys(state.open_circuits, 1))
    if state.jobs is not None:
        yield _jobs(state.jobs)
        what = "Jobs that wait or run, by the contract that wrote them."
        yield labelled("waiting_jobs_contract", what, Skew, _contracts(state.jobs))
    yield _dead_letters(state)


def _jobs(counts: Iterable[JobCount]) -> Metric:
    numbers: Counter[tuple[str, str, str]] = Counter(
        {(task, queue, state): 0 for task, queue in QUEUE_OF.items() for state in STATES}
    )
    for count in counts:
        numbers[known_or_other(Task, count.task), known_or_other(Queue, count.queue), count.state] += count.number
    family = GaugeMetricFamily("issuetracker_jobs", "Jobs of the ledger.", labels=["task", "queue", "state"])
    for labels, number in numbers.items():
        family.add_metric(labels, number)
    return family


def _contracts(counts: Iterable[JobCount]) -> Mapping[str, int]:
    numbers: Counter[str] = Counter()
    for count in counts:
        contract = None if count.contract is None else skew(count.contract)
        if contract is not None:
            numbers[contract] += count.number
    return numbers


def _dead_letters(state: DatabaseState) -> Metric:
    family = GaugeMetricFamily("issuetracker_dead_letters", "What waits for a person.", labels=["kind"])
    if state.jobs is not None:
        family.add_metric(["job"], sum(count.number for count in state.jobs if count.state == JobState.DEAD))
    if state.dead_messages is not None:
        family.add_metric(["message"], state.dead_messages)
    return family


def _broker(state: BrokerState) -> Iterator[Metric]:
    yield labelled("queue_messages", "Messages that wait, of all priorities.", Queue, state.messages)
    what = "Messages that workers hold, or held when they died."
    yield gauge("queue_unacknowledged", what, state.unacknowledged)
    yield gauge("redis_memory_used_bytes", "Bytes that Redis uses.", state.memory_used)
    yield gauge("redis_memory_max_bytes", "Bytes that Redis may use; 0: as many as there are.", state.memory_max)
