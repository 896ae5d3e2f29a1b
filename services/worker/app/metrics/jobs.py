"""Metrics of the jobs and attempts that this worker ends."""

from app.metrics.storage import counter, histogram
from contracts.ledger.states import DEAD, RETRYING, SKIPPED, SUCCEEDED
from contracts.names import QUEUE_OF, Task
from contracts.states import FailureKind, JobState

WAITS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
"""Seconds, from the fastest delivery to a backlog of an hour. 60 is the objective for an enrichment."""
RUNS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 30, 60, 300)
"""Seconds. 25 and 30 are the default time limits."""

CREATED = counter("jobs_created_total", "Created jobs.", ["task", "queue"])
ATTEMPTS = counter("job_attempts_total", "Ended attempts.", ["task", "queue", "outcome"])
FINISHED = counter("jobs_finished_total", "Ended jobs.", ["task", "queue", "outcome"])
RETRIES = counter("job_retries_total", "Failed attempts that are retried.", ["task", "queue", "kind"])
RUN = histogram("job_run_seconds", "Duration of an attempt.", ["task", "queue"], buckets=RUNS)
WAIT = histogram("job_wait_seconds", "Time from queued to started.", ["task", "queue"], buckets=WAITS)
ENRICHED = histogram("issue_enriched_seconds", "Time from POST to enriched.", [], buckets=WAITS)
DUPLICATES = counter("duplicates_dropped_total", "Messages of jobs that are claimed or done.", ["task"])
PROCESSES_LOST = counter("worker_processes_lost_total", "Processes that died or were killed during a job.")

LOST = "lost"
_ENDS = (SUCCEEDED, SKIPPED, DEAD)

for _task, _queue in QUEUE_OF.items():
    for _outcome in (*_ENDS, RETRYING, LOST):
        ATTEMPTS.labels(_task, _queue, _outcome)
    for _outcome in _ENDS:
        FINISHED.labels(_task, _queue, _outcome)
    for _kind in FailureKind:
        if _kind is not FailureKind.PERMANENT:
            RETRIES.labels(_task, _queue, _kind)
    RUN.labels(_task, _queue)
    WAIT.labels(_task, _queue)
    DUPLICATES.labels(_task)
# The API creates the jobs of the other tasks.
for _task in (Task.INDEX_ISSUE, Task.PRUNE):
    CREATED.labels(_task, QUEUE_OF[_task])


def record_start(task: str, queue: str, waited_s: float | None) -> None:
    """Record the start of an attempt, `waited_s` seconds after its message was published; None if unknown."""
    if waited_s is not None:
        WAIT.labels(task, queue).observe(max(waited_s, 0))


def record_end(task: str, queue: str, state: JobState, ran_s: float, age_s: float) -> None:
    """Record an attempt of `ran_s` seconds that ended its job, whose age is `age_s` seconds."""
    ATTEMPTS.labels(task, queue, state).inc()
    FINISHED.labels(task, queue, state).inc()
    RUN.labels(task, queue).observe(ran_s)
    if task == Task.ENRICH_ISSUE and state == SUCCEEDED:
        # One statement creates the issue and its job, so their age is the same.
        ENRICHED.observe(max(age_s, 0))
        # The same transaction creates the job that indexes the issue.
        CREATED.labels(Task.INDEX_ISSUE, QUEUE_OF[Task.INDEX_ISSUE]).inc()


def record_failure(task: str, queue: str, kind: FailureKind, *, is_dead: bool, ran_s: float) -> None:
    """Record a failed attempt of `ran_s` seconds."""
    state = DEAD if is_dead else RETRYING
    ATTEMPTS.labels(task, queue, LOST if kind is FailureKind.LOST else state).inc()
    RUN.labels(task, queue).observe(max(ran_s, 0))
    if is_dead:
        FINISHED.labels(task, queue, DEAD).inc()
    else:
        RETRIES.labels(task, queue, kind).inc()
