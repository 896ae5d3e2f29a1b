"""The gauges of one scrape. For a server that is down, only that gauge is exported."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from api.exporter.broker import BrokerState
from api.exporter.database import DatabaseState, JobCount
from api.metrics.labels import known_or_other
from api.schema import list_revisions
from contracts.ledger.states import DEAD, REPORTED_STATES
from contracts.limits import DEFAULT_PROJECT
from contracts.messages import Skew, classify_skew
from contracts.names import QUEUE_OF, Queue, ScheduleName, Task
from contracts.states import PauseKind


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot(Collector):
    """The state at one scrape."""

    database: DatabaseState | None
    broker: BrokerState | None

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of every server that responds."""
        is_up = self.database is not None and self.database.is_writable
        yield build_gauge("database_up", "Whether PostgreSQL accepts writes.", is_up)
        if self.database is not None:
            yield from _server(self.database)
            yield from _ledger(self.database)
            yield from self._lag(self.database)
        yield build_gauge("redis_up", "Whether Redis responds.", self.broker is not None)
        if self.broker is not None:
            yield from _broker(self.broker)

    def _lag(self, state: DatabaseState) -> Iterator[Metric]:
        if state.waiting_times is None:
            return
        lag = {queue: row["publishable_s"] for queue, row in state.waiting_times.items() if self._has_room(queue)}
        what = "Seconds that the oldest publishable job above class background has waited for the dispatcher."
        yield build_labelled_gauge("dispatcher_lag_seconds", what, Queue, lag)

    def _has_room(self, queue: str) -> bool:
        """Return whether the queue has room, so that the dispatcher should not let its jobs wait."""
        return self.broker is None or self.broker.messages[queue] == 0


def build_gauge(name: str, what: str, value: float) -> Metric:
    """Return a gauge without labels."""
    return GaugeMetricFamily(f"issuetracker_{name}", what, value)


def build_labelled_gauge(name: str, what: str, words: type[StrEnum], values: Mapping[str, float | None]) -> Metric:
    """Return a gauge with one label, whose values are `words`; a word without a value gets 0."""
    family = GaugeMetricFamily(f"issuetracker_{name}", what, labels=[_LABEL[words]])
    for word in words:
        family.add_metric([word], values.get(word) or 0)
    return family


_LABEL: dict[type[StrEnum], str] = {Queue: "queue", Task: "task", Skew: "contract", ScheduleName: "schedule"}


def _server(state: DatabaseState) -> Iterator[Metric]:
    yield build_gauge("database_size_bytes", "Bytes of the database on disk.", state.size)
    yield build_gauge("database_connections", "Connections to the database, of all clients.", state.connections)
    yield build_gauge(
        "schema_at_head",
        "Whether the schema is at the newest migration of this version.",
        state.version == list_revisions()[0],
    )


def _ledger(state: DatabaseState) -> Iterator[Metric]:
    if state.waiting_times is not None:
        what = "Age of the oldest due job above class background, without paused jobs and projects at their limit."
        ages = {queue: row["foreground_s"] for queue, row in state.waiting_times.items()}
        yield build_labelled_gauge("oldest_due_job_age_seconds", what, Queue, ages)
        what = "Age of the oldest due job of class background, without paused jobs and projects at their limit."
        ages = {queue: row["background_s"] for queue, row in state.waiting_times.items()}
        yield build_labelled_gauge("oldest_background_job_age_seconds", what, Queue, ages)
        what = "Age of the oldest due job, without paused jobs and background jobs of projects at their limit."
        ages = {queue: row["expected_s"] for queue, row in state.waiting_times.items()}
        yield build_labelled_gauge("oldest_expected_job_age_seconds", what, Queue, ages)
    if state.open_circuits is not None:
        what = "Whether the circuit breaker of the task's provider is open."
        yield build_labelled_gauge("circuit_open", what, Task, dict.fromkeys(state.open_circuits, 1))
    if state.pauses is not None:
        yield _paused(state.pauses)
    if state.schedules is not None:
        what = "Time of the schedule's next run, in seconds since 1970; 0 if it is disabled."
        next_runs = {name: row["next_run"] for name, row in state.schedules.items()}
        yield build_labelled_gauge("schedule_next_run_timestamp_seconds", what, ScheduleName, next_runs)
        what = "Seconds that the schedule is overdue; infinite if its row is missing, so that it never runs."
        overdue = dict.fromkeys(ScheduleName, inf) | {
            name: row["overdue_s"] for name, row in state.schedules.items()
        }
        yield build_labelled_gauge("schedule_overdue_seconds", what, ScheduleName, overdue)
    if state.by_class is not None:
        yield _waiting("class", "Unpublished due jobs by priority class.", state.by_class)
    if state.by_project is not None:
        what = "Unpublished due jobs of the ten projects with the most, and of the default one."
        yield _waiting("project", what, {DEFAULT_PROJECT: 0} | state.by_project)
    if state.jobs is not None:
        yield _jobs(state.jobs)
        what = "Unfinished jobs by the contract version of their message."
        yield build_labelled_gauge("waiting_jobs_contract", what, Skew, _contracts(state.jobs))
    yield _dead_letters(state)


def _waiting(label: str, what: str, numbers: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(f"issuetracker_waiting_jobs_{label}", what, labels=[label])
    for name, number in numbers.items():
        family.add_metric([name], number)
    return family


def _paused(pauses: Iterable[tuple[str, str]]) -> Metric:
    """Return a gauge of all queues and tasks, and of the paused projects."""
    known: dict[tuple[str, str], int] = {(PauseKind.QUEUE, queue): 0 for queue in Queue}
    known |= {(PauseKind.TASK, task): 0 for task in Task}
    what = "Whether the queue, task or project is paused."
    family = GaugeMetricFamily("issuetracker_paused", what, labels=["kind", "name"])
    for labels, value in (known | dict.fromkeys(pauses, 1)).items():
        family.add_metric(labels, value)
    return family


def _jobs(counts: Iterable[JobCount]) -> Metric:
    numbers: Counter[tuple[str, str, str]] = Counter(
        {(task, queue, state): 0 for task, queue in QUEUE_OF.items() for state in REPORTED_STATES}
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
        contract = None if count.contract is None else classify_skew(count.contract)
        if contract is not None:
            numbers[contract] += count.number
    return numbers


def _dead_letters(state: DatabaseState) -> Metric:
    family = GaugeMetricFamily("issuetracker_dead_letters", "Dead letters that await a decision.", labels=["kind"])
    if state.jobs is not None:
        family.add_metric(["job"], sum(count.number for count in state.jobs if count.state == DEAD))
    if state.dead_messages is not None:
        family.add_metric(["message"], state.dead_messages)
    return family


def _broker(state: BrokerState) -> Iterator[Metric]:
    yield build_labelled_gauge("queue_messages", "Waiting messages of all priorities.", Queue, state.messages)
    what = "Messages received by workers, including crashed ones, and not acknowledged."
    yield build_gauge("queue_unacknowledged", what, state.unacknowledged)
    yield build_gauge("redis_memory_used_bytes", "Memory used by Redis in bytes.", state.memory_used)
    yield build_gauge(
        "redis_memory_max_bytes", "Maximum memory of Redis in bytes; 0 is unlimited.", state.memory_max
    )
