"""The words that rows are in: the ledger's states and the issue's own fields."""

from enum import StrEnum


class JobState(StrEnum):
    """The states of a job in the ledger; docs/concepts/architecture.md draws the moves between them."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


WAITING_STATES = frozenset({JobState.PENDING, JobState.RETRYING})
"""Jobs that the dispatcher publishes once their `run_at` has come."""

LEASED_STATES = frozenset({JobState.QUEUED, JobState.RUNNING})
"""Jobs that are under way; each holds a lease."""


ENDED_STATES = frozenset({JobState.SUCCEEDED, JobState.SKIPPED, JobState.CANCELLED})
"""Jobs that are over for good. A dead one is not: it waits for a person."""


class FailureKind(StrEnum):
    """Why an attempt did not succeed, which decides whether there is another."""

    TRANSIENT = "transient"
    """Something outside was down or slow: worth another attempt."""
    PERMANENT = "permanent"
    """It can never succeed: no other attempt."""
    BUG = "bug"
    """Anything that the code did not foresee: tried again, then kept for a person."""
    LOST = "lost"
    """The worker stopped renewing the lease: killed, out of memory, cut off."""


class Priority(StrEnum):
    """How urgent the reporter says that an issue is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class IssueStatus(StrEnum):
    """Where an issue stands in people's work."""

    OPEN = "open"
    IN_PROGRESS = "in_progress"
    RESOLVED = "resolved"
    CLOSED = "closed"


class IssueSort(StrEnum):
    """What a list is sorted by; `-` is the greatest first."""

    CREATED = "created"
    NEWEST = "-created"
    UPDATED = "updated"
    LATEST = "-updated"
    PRIORITY = "priority"
    MOST_URGENT = "-priority"
    RELEVANCE = "relevance"


class RejectionReason(StrEnum):
    """Why a worker gives back a message instead of running it."""

    UNDECODABLE = "undecodable"
    OVERSIZED = "oversized"
    UNKNOWN_TASK = "unknown_task"
    INVALID_ARGUMENTS = "invalid_arguments"
    NEWER_CONTRACT = "newer_contract"
    UNKNOWN_JOB = "unknown_job"


RETRYABLE_REJECTIONS = frozenset({RejectionReason.UNKNOWN_TASK, RejectionReason.NEWER_CONTRACT})
"""Reasons that go away with an upgrade: such a job is offered again, for a day."""


class DeadMessageState(StrEnum):
    """What has become of a dead message."""

    DEAD = "dead"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


class WebhookEvent(StrEnum):
    """What other systems are told of; the migrations' triggers write these words."""

    ISSUE_CREATED = "issue.created"
    ISSUE_UPDATED = "issue.updated"
    """A person changed it; what a run makes of it is `ISSUE_ENRICHED`."""
    ISSUE_ENRICHED = "issue.enriched"
    ISSUE_ENRICHMENT_DEAD = "issue.enrichment_dead"
    """Its enrichment used up its attempts and waits for a person."""
    ISSUE_DELETED = "issue.deleted"


WEBHOOK_TEST = "webhook.test"
"""The event of a delivery that an operator asks for, whatever the webhook is told of otherwise."""


class TagVerdict(StrEnum):
    """What a person made of a tag."""

    ACCEPTED = "accepted"
    """Suggested, and kept."""
    REJECTED = "rejected"
    """Suggested, and taken away."""
    ADDED = "added"
    """Not suggested, and set."""


class ModelKind(StrEnum):
    """What a project's model guesses."""

    TYPE = "type"
    AREAS = "areas"


class OperationState(StrEnum):
    """How far work has come that a request began and that goes on after its answer."""

    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    """Nothing more is done; single rows may have failed."""


class ImportFormat(StrEnum):
    """What an imported file is written in."""

    NDJSON = "ndjson"
    CSV = "csv"
    GITHUB = "github"
    """GitHub's issues, as its REST API answers them or `gh issue list --json` writes them."""


class Scope(StrEnum):
    """What a token allows; `admin` includes the others, which do not include each other."""

    ISSUES_READ = "issues:read"
    ISSUES_WRITE = "issues:write"
    ADMIN = "admin"
