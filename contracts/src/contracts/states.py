"""The enumerations of table columns: states, priorities, reasons and events."""

from enum import StrEnum


class JobState(StrEnum):
    """The states of a job in the ledger. docs/concepts/architecture.md shows the transitions between them."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class FailureKind(StrEnum):
    """Why an attempt failed. The kind decides whether the job is retried."""

    TRANSIENT = "transient"
    """An external service was down or slow. The job is retried."""
    PERMANENT = "permanent"
    """The job can never succeed. It is not retried."""
    BUG = "bug"
    """An unexpected exception. The job is retried, then waits for a person's decision."""
    LOST = "lost"
    """The worker stopped renewing the lease: it was killed, ran out of memory or lost its connection."""


class Priority(StrEnum):
    """The urgency of an issue, as set by a person."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


PRIORITY_RANK = f"array_position(ARRAY[{', '.join(repr(word.value) + '::text' for word in Priority)}], priority)"
"""SQL expression for the rank of a priority, from 1 for the lowest. An index uses the same expression."""


class IssueStatus(StrEnum):
    """The progress of people's work on an issue."""

    OPEN = "open"
    IN_PROGRESS = "in_progress"
    RESOLVED = "resolved"
    CLOSED = "closed"


class IssueSort(StrEnum):
    """The sort order of a list of issues; `-` means descending."""

    CREATED = "created"
    NEWEST = "-created"
    UPDATED = "updated"
    LATEST = "-updated"
    PRIORITY = "priority"
    MOST_URGENT = "-priority"
    RELEVANCE = "relevance"


class RejectionReason(StrEnum):
    """Why a worker rejects a message instead of running it."""

    UNDECODABLE = "undecodable"
    OVERSIZED = "oversized"
    UNKNOWN_TASK = "unknown_task"
    INVALID_ARGUMENTS = "invalid_arguments"
    NEWER_CONTRACT = "newer_contract"
    UNKNOWN_JOB = "unknown_job"


RETRYABLE_REJECTIONS = frozenset({RejectionReason.UNKNOWN_TASK, RejectionReason.NEWER_CONTRACT})
"""Reasons that an upgrade of the workers resolves. Such a job is published again, for a day."""


class DeadMessageState(StrEnum):
    """The decision on a dead message."""

    DEAD = "dead"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


class WebhookEvent(StrEnum):
    """The events that webhooks can receive. The triggers of the migrations write these values."""

    ISSUE_CREATED = "issue.created"
    ISSUE_UPDATED = "issue.updated"
    """A person changed the issue. A change by an enrichment run is `ISSUE_ENRICHED`."""
    ISSUE_ENRICHED = "issue.enriched"
    ISSUE_ENRICHMENT_DEAD = "issue.enrichment_dead"
    """The enrichment used up its attempts and waits for a person's decision."""
    ISSUE_DELETED = "issue.deleted"


WEBHOOK_TEST = "webhook.test"
"""The event of a test delivery. Every webhook receives it, regardless of its selected events."""


class TagVerdict(StrEnum):
    """A person's decision on a tag."""

    ACCEPTED = "accepted"
    """Suggested, and kept."""
    REJECTED = "rejected"
    """Suggested, and removed."""
    ADDED = "added"
    """Not suggested, and set."""


class ModelKind(StrEnum):
    """What a project's model predicts."""

    TYPE = "type"
    AREAS = "areas"


class OperationState(StrEnum):
    """The progress of an operation: work that continues after the response to its request."""

    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    """The work has ended. Single rows may have failed."""
    CANCELLED = "cancelled"
    """A person has ended the work. The API shows it; the table has `finished` and the time."""


class ImportFormat(StrEnum):
    """The format of an imported file."""

    NDJSON = "ndjson"
    CSV = "csv"
    JSON = "json"
    """An array of issues of a known tracker or of this one, or of rows as in NDJSON."""
    XLSX = "xlsx"
    """An Excel workbook."""


class PauseKind(StrEnum):
    """What a pause stops."""

    QUEUE = "queue"
    TASK = "task"
    PROJECT = "project"


class Scope(StrEnum):
    """What a token allows. `admin` includes all scopes, and `issues:write` includes `issues:ingest`."""

    ISSUES_ERASE = "issues:erase"
    ISSUES_INGEST = "issues:ingest"
    ISSUES_READ = "issues:read"
    ISSUES_WRITE = "issues:write"
    ADMIN = "admin"
