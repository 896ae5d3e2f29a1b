"""The tables, as SQLAlchemy models. Only the API's migrations change the schema."""

from collections.abc import Iterable
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, REAL, TSVECTOR
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from contracts.ledger.classes import PriorityClass
from contracts.ledger.states import IS_DEAD, IS_ENDED, IS_LEASED, IS_WAITING, PENDING
from contracts.limits import DEFAULT_PROJECT, DESCRIPTION_MAX, HOLDER_PATTERN, PROJECT_PATTERN, TITLE_MAX
from contracts.names import Task
from contracts.states import (
    PRIORITY_RANK,
    DeadMessageState,
    FailureKind,
    ImportFormat,
    IssueStatus,
    JobState,
    ModelKind,
    OperationState,
    PauseKind,
    Priority,
    RejectionReason,
    TagVerdict,
)


def _one_of(column: str, words: Iterable[StrEnum]) -> str:
    return f"{column} IN ({', '.join(repr(word.value) for word in words)})"


_NOT_DELETED = text("deleted_at IS NULL")


class Base(DeclarativeBase):
    """Registry of all tables. Constraint names follow one convention, so that migrations can refer to them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it as declared
        str: Text,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[dict[str, Any]]: JSONB,
        list[str]: ARRAY(Text),
    }


class Issue(Base):
    """An issue. `tags` is a comma-separated string (`bug,frontend`); `tag_list` is the indexed array."""

    __tablename__ = "issue"
    __table_args__ = (
        CheckConstraint(f"char_length(title) BETWEEN 1 AND {TITLE_MAX}", name="title_length"),
        CheckConstraint(f"char_length(description) <= {DESCRIPTION_MAX}", name="description_length"),
        CheckConstraint(_one_of("priority", Priority), name="priority"),
        CheckConstraint(_one_of("status", IssueStatus), name="status"),
        CheckConstraint(f"project ~ '{PROJECT_PATTERN}'", name="project"),
        Index(None, "tag_list", postgresql_using="gin"),
        Index(
            "ix_issue_confirmed",
            "project",
            "tags_confirmed_at",
            postgresql_where=text("tags_confirmed_at IS NOT NULL"),
        ),
        # The sort orders of lists. A full-text search uses `ix_issue_lexemes` instead.
        Index("ix_issue_created", "created_at", "id", postgresql_where=_NOT_DELETED),
        Index("ix_issue_updated", "updated_at", "id", postgresql_where=_NOT_DELETED),
        Index("ix_issue_status", "status", "created_at", "id", postgresql_where=_NOT_DELETED),
        Index("ix_issue_priority", text(PRIORITY_RANK), "created_at", "id", postgresql_where=_NOT_DELETED),
        Index("ix_issue_lexemes", "lexemes", postgresql_using="gin"),
        Index(
            "ix_issue_external",
            "external_source",
            "external_id",
            unique=True,
            postgresql_where=text("external_source IS NOT NULL AND deleted_at IS NULL"),
        ),
        # A list by external id of any source.
        Index(
            "ix_issue_external_id",
            "external_id",
            "created_at",
            "id",
            postgresql_where=text("external_id IS NOT NULL AND deleted_at IS NULL"),
        ),
        # Imports look up deleted issues here, to avoid creating them again.
        Index(
            "ix_issue_external_deleted",
            "external_source",
            "external_id",
            postgresql_where=text("external_source IS NOT NULL AND deleted_at IS NOT NULL"),
        ),
        # For erasures, which include deleted issues.
        Index("ix_issue_project", "project", "created_at", "id"),
        Index("ix_issue_duplicate_of", "duplicate_of", postgresql_where=text("duplicate_of IS NOT NULL")),
        # Deleted issues to erase, the oldest first.
        Index("ix_issue_deleted", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(server_default=DEFAULT_PROJECT)
    """The project whose model applies. The model is trained on the project's confirmed tags."""
    title: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    priority: Mapped[str] = mapped_column(server_default=Priority.MEDIUM)
    status: Mapped[str] = mapped_column(server_default=IssueStatus.OPEN)
    ai_summary: Mapped[str | None]
    tags: Mapped[str] = mapped_column(server_default="")
    tag_list: Mapped[list[str]] = mapped_column(Computed("string_to_array(tags, ',')", persisted=True))
    tags_confirmed_at: Mapped[datetime | None]
    """When a person confirmed the tags. Enrichment runs do not overwrite confirmed tags."""
    duplicate_of: Mapped[UUID | None] = mapped_column(ForeignKey("issue.id", ondelete="SET NULL"))
    """The original issue, as marked by a person. It is never a duplicate itself."""
    external_source: Mapped[str | None]
    """The system that the issue was imported from. It is set if and only if `external_id` is set."""
    external_id: Mapped[str | None]
    external_url: Mapped[str | None]
    external_details: Mapped[dict[str, Any] | None]
    """What an import has kept: created_at, updated_at, closed_at, author and assignee in the source system."""
    edited: Mapped[list[str] | None]
    """Which of title, description, status and priority a person changed here. Imports do not overwrite these."""
    lexemes: Mapped[str | None] = mapped_column(TSVECTOR)
    """Search index of the title (weight A) and the description (B), maintained by a trigger; migration 0020."""
    deleted_at: Mapped[datetime | None]
    """When a person deleted the issue. No endpoint returns it afterwards, and a worker erases it later."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Job(Base):
    """One unit of background work. These rows form the ledger, the source of truth about all work."""

    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint(_one_of("state", JobState), name="state"),
        CheckConstraint(f"(lease_until IS NOT NULL) = ({IS_LEASED})", name="lease"),
        Index("ix_job_due", "queue", "run_at", postgresql_where=text(IS_WAITING)),
        # A lane is the waiting jobs of a queue with the same class, project and task.
        Index(
            "ix_job_lane",
            *("queue", "priority_class", "project", "task", "run_at"),
            postgresql_where=text(IS_WAITING),
        ),
        Index("ix_job_dead", "id", postgresql_where=text(IS_DEAD)),
        Index("ix_job_lease", "lease_until", postgresql_where=text(IS_LEASED)),
        Index(None, "issue_id", "id"),
        # Jobs to prune, the oldest first. Enrichment jobs are excluded, because they are kept with their issue.
        Index(
            "ix_job_ended",
            "finished_at",
            postgresql_where=text(f"{IS_ENDED} AND task <> '{Task.ENRICH_ISSUE}'"),
        ),
        # Enrichment jobs to prune: their issue was erased.
        Index(
            "ix_job_orphaned",
            "finished_at",
            postgresql_where=text(f"{IS_ENDED} AND task = '{Task.ENRICH_ISSUE}' AND issue_id IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    task: Mapped[str]
    queue: Mapped[str]
    message: Mapped[dict[str, Any]]
    """The complete message, written when the job is created and published unchanged."""
    issue_id: Mapped[UUID | None] = mapped_column(ForeignKey("issue.id", ondelete="SET NULL"))
    """Null if the issue was erased. The job then ends as skipped."""
    project: Mapped[str] = mapped_column(server_default="")
    """The project to whose share the job counts. Empty if it belongs to none."""
    priority_class: Mapped[int] = mapped_column(server_default=str(PriorityClass.MEDIUM.value))
    """The `PriorityClass`, which its retries keep."""
    state: Mapped[str] = mapped_column(server_default=PENDING)
    attempts: Mapped[int] = mapped_column(server_default="0")
    """Number of all attempts started. It is also the attempt number that fences the current attempt's writes."""
    attempts_since_replay: Mapped[int] = mapped_column("tries", server_default="0")
    """Number of attempts started since the job was created or last replayed. The retry schedule uses it.

    The column keeps the name `tries` because release 0.1.0 reads and writes it.
    """
    run_at: Mapped[datetime] = mapped_column(server_default=func.now())
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None]
    last_error: Mapped[str | None]
    rejected_since: Mapped[datetime | None] = mapped_column("refused_since")
    """When a worker first rejected the message because only a newer worker can run it.

    The column keeps its name because release 0.1.0 reads and writes it.
    """
    note: Mapped[str | None]
    """Why a person discarded the job."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    queued_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class ProjectShare(Base):
    """The share of a project in the workers. A project without a row has weight 1 and the default limit."""

    __tablename__ = "project_share"
    __table_args__ = (
        CheckConstraint("weight >= 1", name="weight"),
        CheckConstraint("running_max >= 1", name="running_max"),
    )

    project: Mapped[str] = mapped_column(primary_key=True)
    weight: Mapped[int] = mapped_column(server_default="1")
    """Jobs of the project for each job of a project with weight 1."""
    running_max: Mapped[int | None]
    """Maximum jobs that are published or running at once."""


class Pause(Base):
    """A queue, task or project whose jobs do not start. No other store contains pauses."""

    __tablename__ = "pause"
    __table_args__ = (CheckConstraint(_one_of("kind", PauseKind), name="kind"),)

    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str | None]
    paused_at: Mapped[datetime] = mapped_column(server_default=func.now())
    paused_by: Mapped[str]
    """The principal's name, as in the audit log."""


class Schedule(Base):
    """A schedule, which creates jobs periodically. `api.dispatch.schedules` knows the jobs of each name."""

    __tablename__ = "schedule"

    name: Mapped[str] = mapped_column(primary_key=True)
    cron: Mapped[str]
    """Minute, hour, day of the month, month and day of the week."""
    time_zone: Mapped[str]
    """The name of the IANA time zone in which `cron` is read."""
    next_run_at: Mapped[datetime | None]
    """Null if the schedule is disabled."""
    last_run_at: Mapped[datetime | None]
    last_job_id: Mapped[UUID | None]
    """The last job that it created. The job may have been pruned."""


class JobFailure(Base):
    """A failed attempt. A person reads it to decide on a dead letter."""

    __tablename__ = "job_failure"
    __table_args__ = (CheckConstraint(_one_of("kind", FailureKind), name="kind"), Index(None, "failed_at"))

    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    worker: Mapped[str | None]
    error: Mapped[str]
    """Class and message of the exception, on one line."""
    traceback: Mapped[str | None]
    started_at: Mapped[datetime | None]
    failed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Enrichment(Base):
    """The result of one enrichment run, and its provenance."""

    __tablename__ = "enrichment"
    __table_args__ = (Index(None, "issue_id", "job_id"),)

    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    issue_id: Mapped[UUID] = mapped_column(ForeignKey("issue.id", ondelete="CASCADE"))
    summary: Mapped[str]
    tags: Mapped[list[dict[str, Any]]]
    """A list of `{"name": str, "confidence": float}`."""
    priority: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """`{"value": Priority, "reason": str}`, or null without a suggestion. It never overwrites the issue's own."""
    language: Mapped[str | None]
    """ISO 639-1 code of the text's language, or null if it was not recognised."""
    provenance: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class TagFeedback(Base):
    """A person's last decision on one tag of an issue."""

    __tablename__ = "tag_feedback"
    __table_args__ = (CheckConstraint(_one_of("verdict", TagVerdict), name="verdict"),)

    issue_id: Mapped[UUID] = mapped_column(ForeignKey("issue.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(primary_key=True)
    verdict: Mapped[str]
    confidence: Mapped[float | None]
    """The confidence of the suggestion, from 0 to 1. Null if the tag was not suggested."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class PriorityFeedback(Base):
    """A person's decision on the priority that was last suggested for an issue."""

    __tablename__ = "priority_feedback"
    __table_args__ = (
        CheckConstraint(_one_of("value", Priority), name="value"),
        CheckConstraint("verdict IN ('accepted', 'rejected')", name="verdict"),
    )

    issue_id: Mapped[UUID] = mapped_column(ForeignKey("issue.id", ondelete="CASCADE"), primary_key=True)
    value: Mapped[str]
    verdict: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ProjectModel(Base):
    """A model trained on one project's confirmed tags. It is a delta to the base model that the worker ships."""

    __tablename__ = "project_model"
    __table_args__ = (CheckConstraint(_one_of("kind", ModelKind), name="kind"), Index(None, "project", "id"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project: Mapped[str]
    kind: Mapped[str]
    base_version: Mapped[str]
    """The version of the base model that the delta was trained on. Other versions do not use the delta."""
    parameters: Mapped[bytes]
    """The weights, as a safetensors file."""
    sha256: Mapped[bytes]
    examples: Mapped[int]
    """Number of confirmed issues that the model was trained on."""
    metrics: Mapped[dict[str, Any]]
    """Scores of this model and of the then active model on issues held out from training."""
    replaced: Mapped[UUID | None] = mapped_column(ForeignKey("project_model.id"))
    """The model that this one replaced, which a rollback activates again. Null for the base model."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ActiveModel(Base):
    """The active model of a project. Without a row, or with null, the base model is active."""

    __tablename__ = "active_model"

    project: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    model_id: Mapped[UUID | None] = mapped_column(ForeignKey("project_model.id"))
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AuditEntry(Base):
    """Who changed what, and when. The table is append-only."""

    __tablename__ = "audit_log"
    __table_args__ = (Index(None, "actor", "id"), Index(None, "subject", "id"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    actor: Mapped[str]
    """A token's name, `admin-token`, `anonymous` if AUTH is off, or a worker's name."""
    actor_id: Mapped[UUID | None]
    """The token's id, because the name of a revoked token may be reused."""
    action: Mapped[str]
    """A verb on a resource, such as `project_model.activated`."""
    subject: Mapped[str]
    """The resource's id or name."""
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AuditPending(Base):
    """The digest of an audit entry, until it is sealed. Functions of migration 0018 write and move the rows."""

    __tablename__ = "audit_pending"

    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    entry_id: Mapped[UUID]
    digest: Mapped[bytes]
    """SHA-256 of the entry."""


class AuditSeal(Base):
    """A link of the chain over the audit log. An entry has one seal."""

    __tablename__ = "audit_seal"
    __table_args__ = (Index(None, "entry_id"),)

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """From 1, without gaps."""
    entry_id: Mapped[UUID]
    digest: Mapped[bytes]
    hash: Mapped[bytes]
    """SHA-256 of the hash before, the number, the entry's id and the digest."""


class ApiToken(Base):
    """A bearer token of the API. Rows are never deleted, because the audit log refers to them."""

    __tablename__ = "api_token"
    __table_args__ = (
        CheckConstraint(f"name ~ '{HOLDER_PATTERN}'", name="name"),
        CheckConstraint("cardinality(scopes) > 0", name="scopes"),
        Index("ix_api_token_name", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    digest: Mapped[bytes] = mapped_column(unique=True)
    """SHA-256 of the token. The token itself is not stored."""
    hint: Mapped[str]
    """The token's first characters, which identify the token in a configuration."""
    scopes: Mapped[list[str]]
    projects: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    """The projects in which a token with `issues:ingest` may create issues; empty for others."""
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    """Stored at most once per minute."""


class ApiSession(Base):
    """A browser's session. It has the scopes of its token and ends with it."""

    __tablename__ = "api_session"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    """SHA-256 of the cookie's value."""
    token_digest: Mapped[bytes]
    """SHA-256 of the token that created the session, which may be the bootstrap admin token."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(index=True)
    id: Mapped[UUID | None] = mapped_column(server_default=func.gen_random_uuid())
    """Names the session to its holder."""
    address: Mapped[str] = mapped_column(server_default="")
    """Address of the client that logged in."""
    last_used_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """Stored at most once per minute."""


class ProviderUsage(Base):
    """The use of a provider on one day (UTC), for its daily budget."""

    __tablename__ = "provider_usage"

    provider: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    requests: Mapped[int] = mapped_column(server_default="0")
    tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Sum of prompt and completion tokens."""


class TagDescription(Base):
    """A custom description of a tag, which replaces the default in `contracts.vocabulary.DESCRIPTIONS`."""

    __tablename__ = "tag_description"

    name: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class IdempotentResponse(Base):
    """The response to a POST with an Idempotency-Key, committed in the same transaction as the POST's changes."""

    __tablename__ = "idempotent_answer"
    __table_args__ = (
        CheckConstraint("octet_length(body) <= 1048576", name="body_size"),
        Index(None, "created_at"),
        Index(None, "issue_id"),
    )

    id: Mapped[bytes] = mapped_column(primary_key=True)
    """SHA-256 of the principal and the key."""
    fingerprint: Mapped[bytes]
    """SHA-256 of the request. The key is valid for this request only."""
    status: Mapped[int]
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    issue_id: Mapped[UUID | None]
    """The issue whose text the response may contain."""


class Erasure(Base):
    """The tombstone of an erased issue, or the request to erase an issue or a project. It contains no text.

    A worker erases what a row without `finished_at` names, so rows that were restored repeat their erasures.
    """

    __tablename__ = "erasure"
    __table_args__ = (
        Index("ix_erasure_unfinished", "id", postgresql_where=text("finished_at IS NULL")),
        Index("ix_erasure_external", "external_digest", postgresql_where=text("external_digest IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """The id of the issue. The erasure of a project has an id of its own."""
    is_project: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether all issues of the project that were created before `requested_at` are erased."""
    project: Mapped[str]
    actor: Mapped[str]
    """Who requested the erasure, as in the audit log, or `retention` for an issue that was deleted long ago."""
    actor_id: Mapped[UUID | None]
    external_digest: Mapped[bytes | None]
    """SHA-256 of the external source and id, so that imports do not create the issue again."""
    requested_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]


_STORED_OPERATION_STATES = [state for state in OperationState if state is not OperationState.CANCELLED]


class Operation(Base):
    """Work that continues after the response to its request: an import."""

    __tablename__ = "operation"
    __table_args__ = (
        CheckConstraint(
            _one_of("state", (word for word in OperationState if word is not OperationState.CANCELLED)),
            name="state",
        ),
        CheckConstraint(_one_of("format", ImportFormat), name="format"),
        Index("ix_operation_unfinished", "advanced_at", "id", postgresql_where=text("state <> 'finished'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(server_default=OperationState.PENDING)
    format: Mapped[str]
    is_dry_run: Mapped[bool]
    project: Mapped[str | None]
    """The project of new issues whose row has no project."""
    source: Mapped[str | None]
    """The external source of rows that have none."""
    mapping: Mapped[dict[str, Any] | None]
    """The requested fields of columns and values of names."""
    encoding: Mapped[str | None]
    """The encoding of a text file."""
    export: Mapped[str | None]
    """The name of the known export that a sheet is."""
    total: Mapped[int] = mapped_column(server_default="0")
    """Number of rows in the file."""
    done: Mapped[int] = mapped_column(server_default="0")
    """Number of processed rows, in the order of the file: the sum of the next five columns."""
    created: Mapped[int] = mapped_column(server_default="0")
    updated: Mapped[int] = mapped_column(server_default="0")
    unchanged: Mapped[int] = mapped_column(server_default="0")
    skipped: Mapped[int] = mapped_column(server_default="0")
    failed: Mapped[int] = mapped_column(server_default="0")
    errors: Mapped[list[dict[str, Any]]] = mapped_column(server_default=text("'[]'"))
    """The first errors of failed rows."""
    errors_omitted: Mapped[int] = mapped_column(server_default="0")
    """Number of further errors, which are not stored."""
    problems: Mapped[list[dict[str, Any]]] = mapped_column(server_default=text("'[]'"))
    """The different errors of all rows, each with the number of its rows."""
    actor: Mapped[str]
    """Who started the operation, as in the audit log."""
    actor_id: Mapped[UUID | None]
    request_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    advanced_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]
    """When a person cancelled the operation, which finished it."""


class ImportRow(Base):
    """A row of a file that is being imported. It is deleted when the operation ends."""

    __tablename__ = "import_row"
    __table_args__ = (Index(None, "operation_id", "external_source", "external_id"),)

    operation_id: Mapped[UUID] = mapped_column(ForeignKey("operation.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    """From 1, without gaps."""
    line: Mapped[int | None]
    """Line number in the file, if its format has lines."""
    body: Mapped[bytes | None]
    """The row as JSON. Null if the row was processed or has a fault."""
    fault: Mapped[str | None]
    """Why the row cannot be parsed."""
    external_source: Mapped[str | None]
    external_id: Mapped[str | None]
    """The external id of the row's issue, set when the row is processed."""


class Event(Base):
    """A change of an issue or of a job's state, for the event stream. Triggers write it; it is kept for an hour.

    Readers read rows in the order of the key, and only rows of transactions that are older than every running
    transaction. Therefore no row can appear before a row that was already read.
    """

    __tablename__ = "event"

    transaction_id: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, server_default=text("pg_current_xact_id()::text::bigint")
    )
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    kind: Mapped[str]
    """`issue.created`, `issue.changed`, `issue.deleted` or `job.changed`."""
    issue_id: Mapped[UUID | None]
    """Without a foreign key, so that writers do not wait for locks on the issue."""
    job_id: Mapped[UUID | None]
    task: Mapped[str | None]
    state: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Webhook(Base):
    """A URL of another system that receives events, as specified by Standard Webhooks."""

    __tablename__ = "webhook"
    __table_args__ = (CheckConstraint("cardinality(events) > 0", name="events"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    url: Mapped[str]
    events: Mapped[list[str]]
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    deactivated_reason: Mapped[str | None]
    """Why a worker deactivated the webhook. Null if a person did."""
    secret: Mapped[str]
    """Encrypted with SECRET_KEYS, or in clear text without keys. Every delivery is signed with it. It is returned
    only once and never logged."""
    previous_secret: Mapped[str | None]
    previous_secret_until: Mapped[datetime | None]
    """Until this time, deliveries are also signed with the previous secret."""
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class WebhookDelivery(Base):
    """The delivery of one event to one webhook. Its job has the state, the attempts and the errors.

    Triggers write the row in the transaction that causes the event. The payload is built at the time of delivery.
    """

    __tablename__ = "webhook_delivery"
    __table_args__ = (Index(None, "webhook_id", "job_id"), Index(None, "issue_id"))

    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    webhook_id: Mapped[UUID]
    """Without a foreign key, so that writers of issues do not lock the webhook or wait for changes to it."""
    event: Mapped[str]
    issue_id: Mapped[UUID | None]
    """Null for a test. Not in the job, because a deletion cancels the issue's jobs but must be delivered."""
    status_code: Mapped[int | None]
    """The HTTP status of the receiver's last response."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DeadMessage(Base):
    """A dead letter that belongs to no job: a message that no worker can run. It waits for a person's decision."""

    __tablename__ = "dead_message"
    __table_args__ = (
        CheckConstraint(_one_of("reason", RejectionReason), name="reason"),
        CheckConstraint(_one_of("state", DeadMessageState), name="state"),
        Index(None, "state", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    digest: Mapped[bytes] = mapped_column(unique=True)
    """SHA-256 of the raw message, so that the same message is stored once."""
    queue: Mapped[str]
    reason: Mapped[str]
    error: Mapped[str]
    worker: Mapped[str]
    raw: Mapped[bytes]
    """The message as it was in the queue, truncated to `contracts.limits.RAW_MESSAGE_MAX` bytes."""
    state: Mapped[str] = mapped_column(server_default=DeadMessageState.DEAD)
    note: Mapped[str | None]
    """Why a person discarded the message."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    decided_at: Mapped[datetime | None]


class Circuit(Base):
    """The circuit breaker of the provider that a task uses. The task's jobs wait until `open_until`."""

    __tablename__ = "circuit"

    task: Mapped[str] = mapped_column(primary_key=True)
    """The task's name, or `webhook:ID`, because each webhook has its own circuit breaker."""
    provider: Mapped[str]
    failures: Mapped[int]
    """Number of consecutive failures, of all workers."""
    last_error: Mapped[str]
    open_until: Mapped[datetime | None]


class IssueSearch(Base):
    """The index row of an issue for the search for similar issues: its words, and its vector if a model is active.

    If the server has pgvector, the migration adds an index on the vectors. The column itself needs no extension.
    """

    __tablename__ = "issue_search"
    __table_args__ = (Index(None, "words", postgresql_using="gin", postgresql_with={"fastupdate": "off"}),)

    issue_id: Mapped[UUID] = mapped_column(ForeignKey("issue.id", ondelete="CASCADE"), primary_key=True)
    words: Mapped[str] = mapped_column(TSVECTOR)
    """Lexemes of the title (weight A) and of the description's prose (weight B)."""
    embedding: Mapped[list[float] | None] = mapped_column(ARRAY(REAL))
    """A unit vector, so that the inner product of two vectors is their cosine similarity."""
    model: Mapped[str | None]
    """The model that computed the vector. Vectors of different models cannot be compared."""
    indexed_at: Mapped[datetime] = mapped_column(server_default=func.now())
