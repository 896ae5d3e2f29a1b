"""The tables, as SQLAlchemy models. The API's migrations create them; nothing else changes the schema."""

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

from contracts.limits import DEFAULT_PROJECT, DESCRIPTION_MAX, HOLDER_PATTERN, PROJECT_PATTERN, TITLE_MAX
from contracts.names import Task
from contracts.states import (
    ENDED_STATES,
    LEASED_STATES,
    WAITING_STATES,
    DeadMessageState,
    FailureKind,
    ImportFormat,
    IssueStatus,
    JobState,
    ModelKind,
    OperationState,
    Priority,
    RejectionReason,
    TagVerdict,
)


def _one_of(column: str, words: type[StrEnum]) -> str:
    return f"{column} IN ({', '.join(repr(word.value) for word in words)})"


def _in_states(states: frozenset[JobState]) -> Any:
    return text(f"state IN ({', '.join(repr(state.value) for state in sorted(states))})")


_NOT_DELETED = text("deleted_at IS NULL")

PRIORITY_RANK = f"array_position(ARRAY[{', '.join(repr(word.value) + '::text' for word in Priority)}], priority)"
"""SQL: a priority's rank, from 1 for the lowest; an index holds this very expression."""


class Base(DeclarativeBase):
    """Registry of all tables; constraint names follow one rule, so that migrations can name them."""

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
    """What people see. `tags` is what the guide prints (`bug,frontend`); `tag_list` carries the index."""

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
        # What lists are read by. Those of a search are found by the words first.
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
        # What somebody has deleted here no import brings back.
        Index(
            "ix_issue_external_deleted",
            "external_source",
            "external_id",
            postgresql_where=text("external_source IS NOT NULL AND deleted_at IS NOT NULL"),
        ),
        Index("ix_issue_duplicate_of", "duplicate_of", postgresql_where=text("duplicate_of IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(server_default=DEFAULT_PROJECT)
    """Whose habits of tagging it follows: what people confirm in a project is learned for that project."""
    title: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    priority: Mapped[str] = mapped_column(server_default=Priority.MEDIUM)
    status: Mapped[str] = mapped_column(server_default=IssueStatus.OPEN)
    ai_summary: Mapped[str | None]
    tags: Mapped[str] = mapped_column(server_default="")
    tag_list: Mapped[list[str]] = mapped_column(Computed("string_to_array(tags, ',')", persisted=True))
    tags_confirmed_at: Mapped[datetime | None]
    """When a person set the tags; from then on no run overwrites them."""
    duplicate_of: Mapped[UUID | None] = mapped_column(ForeignKey("issue.id", ondelete="SET NULL"))
    """The issue that a person says is the same; never one that is itself a duplicate."""
    external_source: Mapped[str | None]
    """The system that it comes from, which knows it as `external_id`; both are set, or neither."""
    external_id: Mapped[str | None]
    external_url: Mapped[str | None]
    edited: Mapped[list[str] | None]
    """Which of title, description, status and priority somebody has changed here: imports leave these alone."""
    lexemes: Mapped[str | None] = mapped_column(TSVECTOR)
    """Of the title (weight A) and the whole description (B), kept by a trigger: what a search looks in."""
    deleted_at: Mapped[datetime | None]
    """When a person deleted it; nothing shows it from then on."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Job(Base):
    """One piece of background work: the ledger's row, and the truth about it."""

    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint(_one_of("state", JobState), name="state"),
        CheckConstraint("(lease_until IS NOT NULL) = (state IN ('queued', 'running'))", name="lease"),
        Index("ix_job_due", "queue", "run_at", postgresql_where=_in_states(WAITING_STATES)),
        Index("ix_job_dead", "id", postgresql_where=_in_states(frozenset({JobState.DEAD}))),
        Index("ix_job_lease", "lease_until", postgresql_where=_in_states(LEASED_STATES)),
        Index(None, "issue_id", "id"),
        # What is pruned, the oldest first. An issue's runs are kept with it, and are not in its way.
        Index(
            "ix_job_ended",
            "finished_at",
            postgresql_where=text(f"{_in_states(ENDED_STATES).text} AND task <> '{Task.ENRICH_ISSUE}'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    task: Mapped[str]
    queue: Mapped[str]
    message: Mapped[dict[str, Any]]
    """What is published, whole, as it was written when the job was created."""
    issue_id: Mapped[UUID | None] = mapped_column(ForeignKey("issue.id", ondelete="SET NULL"))
    """Null once the issue is gone: the job then ends skipped."""
    state: Mapped[str] = mapped_column(server_default=JobState.PENDING)
    attempts: Mapped[int] = mapped_column(server_default="0")
    """Attempts begun in all; the number of the current one fences its writes."""
    attempts_since_replay: Mapped[int] = mapped_column("tries", server_default="0")
    """Attempts begun since the job was created or last replayed: what the retry schedule counts.

    The column keeps the name `tries` because release 0.1.0 reads and writes it.
    """
    run_at: Mapped[datetime] = mapped_column(server_default=func.now())
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None]
    last_error: Mapped[str | None]
    rejected_since: Mapped[datetime | None] = mapped_column("refused_since")
    """When a worker first gave the message back unread, because only a newer worker can read it.

    The column keeps its name because release 0.1.0 reads and writes it.
    """
    note: Mapped[str | None]
    """Why a person discarded it."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    queued_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class JobFailure(Base):
    """An attempt that did not succeed: what a person needs to see before they replay a job."""

    __tablename__ = "job_failure"
    __table_args__ = (CheckConstraint(_one_of("kind", FailureKind), name="kind"), Index(None, "failed_at"))

    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    worker: Mapped[str | None]
    error: Mapped[str]
    """Class and message of the exception, one line."""
    traceback: Mapped[str | None]
    started_at: Mapped[datetime | None]
    failed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Enrichment(Base):
    """What one finished job made of an issue, and where it came from."""

    __tablename__ = "enrichment"
    __table_args__ = (Index(None, "issue_id", "job_id"),)

    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    issue_id: Mapped[UUID] = mapped_column(ForeignKey("issue.id", ondelete="CASCADE"))
    summary: Mapped[str]
    tags: Mapped[list[dict[str, Any]]]
    """A list of `{"name": str, "confidence": float}`."""
    priority: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """`{"value": Priority, "reason": str}` where a rule suggests one; the reporter's own is never overwritten."""
    language: Mapped[str | None]
    """ISO 639-1 code of the text's language, where it was recognised."""
    provenance: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class TagFeedback(Base):
    """What a person made of one tag when they last set an issue's tags."""

    __tablename__ = "tag_feedback"
    __table_args__ = (CheckConstraint(_one_of("verdict", TagVerdict), name="verdict"),)

    issue_id: Mapped[UUID] = mapped_column(ForeignKey("issue.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(primary_key=True)
    verdict: Mapped[str]
    confidence: Mapped[float | None]
    """How sure the machine was of a tag that it suggested."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class PriorityFeedback(Base):
    """What a person made of the priority that was last suggested for an issue."""

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
    """What was learned of one project's habits from its confirmed tags: a delta on what the worker ships."""

    __tablename__ = "project_model"
    __table_args__ = (CheckConstraint(_one_of("kind", ModelKind), name="kind"), Index(None, "project", "id"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project: Mapped[str]
    kind: Mapped[str]
    base_version: Mapped[str]
    """The base that the delta was trained on; on another base it is not used."""
    parameters: Mapped[bytes]
    """Arrays as safetensors."""
    sha256: Mapped[bytes]
    examples: Mapped[int]
    """Confirmed issues that it was trained on."""
    metrics: Mapped[dict[str, Any]]
    """How it did on issues that it had not seen, beside what was active then."""
    replaced: Mapped[UUID | None] = mapped_column(ForeignKey("project_model.id"))
    """The model that was active when this one was activated: what a rollback returns to. Null for the base."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ActiveModel(Base):
    """Which of a project's models answers; without a row, or with null, the shipped base does."""

    __tablename__ = "active_model"

    project: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    model_id: Mapped[UUID | None] = mapped_column(ForeignKey("project_model.id"))
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AuditEntry(Base):
    """Who changed what, and when. Rows are only ever added."""

    __tablename__ = "audit_log"
    __table_args__ = (Index(None, "actor", "id"), Index(None, "subject", "id"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    actor: Mapped[str]
    """A token's name, `admin-token`, `anonymous` where AUTH is off, or a worker's name."""
    actor_id: Mapped[UUID | None]
    """The token's id: names may be given again."""
    action: Mapped[str]
    """A verb on a resource, such as `project_model.activated`."""
    subject: Mapped[str]
    """The resource's id or name."""
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ApiToken(Base):
    """A bearer token of the API. Rows are never deleted: the audit log names them."""

    __tablename__ = "api_token"
    __table_args__ = (
        CheckConstraint(f"name ~ '{HOLDER_PATTERN}'", name="name"),
        CheckConstraint("cardinality(scopes) > 0", name="scopes"),
        Index("ix_api_token_name", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    digest: Mapped[bytes] = mapped_column(unique=True)
    """SHA-256 of the token, which itself is stored nowhere."""
    hint: Mapped[str]
    """Its first characters, to tell which one a configuration holds."""
    scopes: Mapped[list[str]]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    """To the minute."""


class ApiSession(Base):
    """A browser's session, which stands for a token and ends with it."""

    __tablename__ = "api_session"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    """SHA-256 of what the cookie holds."""
    token_digest: Mapped[bytes]
    """Of the token that it was made from, which may be the one in the settings."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(index=True)


class ProviderUsage(Base):
    """What was asked of a provider on one day (UTC), for its daily budget."""

    __tablename__ = "provider_usage"

    provider: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    requests: Mapped[int] = mapped_column(server_default="0")
    tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Prompt and completion together."""


class TagDescription(Base):
    """What a project's people say that a tag means, in place of `contracts.vocabulary.DESCRIPTIONS`."""

    __tablename__ = "tag_description"

    name: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class IdempotentAnswer(Base):
    """The answer to a POST with an Idempotency-Key, committed together with what the POST did."""

    __tablename__ = "idempotent_answer"
    __table_args__ = (
        CheckConstraint("octet_length(body) <= 1048576", name="body_size"),
        Index(None, "created_at"),
    )

    id: Mapped[bytes] = mapped_column(primary_key=True)
    """SHA-256 of who sent it and of the key."""
    fingerprint: Mapped[bytes]
    """SHA-256 of the request: the key belongs to this one."""
    status: Mapped[int]
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Operation(Base):
    """Work that a request began and that goes on after its answer: an import."""

    __tablename__ = "operation"
    __table_args__ = (
        CheckConstraint(_one_of("state", OperationState), name="state"),
        CheckConstraint(_one_of("format", ImportFormat), name="format"),
        Index("ix_operation_unfinished", "advanced_at", "id", postgresql_where=text("state <> 'finished'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(server_default=OperationState.PENDING)
    format: Mapped[str]
    is_dry_run: Mapped[bool]
    project: Mapped[str | None]
    """Of new issues whose row names none."""
    source: Mapped[str | None]
    """Of rows that name none."""
    total: Mapped[int] = mapped_column(server_default="0")
    """Rows of the file."""
    done: Mapped[int] = mapped_column(server_default="0")
    """Rows that are over, the first ones: the sum of the next five."""
    created: Mapped[int] = mapped_column(server_default="0")
    updated: Mapped[int] = mapped_column(server_default="0")
    unchanged: Mapped[int] = mapped_column(server_default="0")
    skipped: Mapped[int] = mapped_column(server_default="0")
    failed: Mapped[int] = mapped_column(server_default="0")
    errors: Mapped[list[dict[str, Any]]] = mapped_column(server_default=text("'[]'"))
    """The first ones, of rows that failed."""
    errors_omitted: Mapped[int] = mapped_column(server_default="0")
    """How many more there were."""
    actor: Mapped[str]
    """Who asked for it, as in the audit log."""
    actor_id: Mapped[UUID | None]
    request_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    advanced_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class ImportRow(Base):
    """A row of a file that is being imported; deleted when the operation is over."""

    __tablename__ = "import_row"
    __table_args__ = (Index(None, "operation_id", "external_source", "external_id"),)

    operation_id: Mapped[UUID] = mapped_column(ForeignKey("operation.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    """From 1, without gaps."""
    line: Mapped[int | None]
    """Of the file, where it has lines."""
    body: Mapped[bytes | None]
    """JSON, as it came or made of what came; null once the row is over, and where there is a fault."""
    fault: Mapped[str | None]
    """Why it could not be read as a row at all."""
    external_source: Mapped[str | None]
    external_id: Mapped[str | None]
    """Whom it was about, once it is over."""


class Event(Base):
    """A change of an issue, or of a job's state, for whoever listens; written by triggers, kept for an hour.

    Rows are read in the order of their key, and only those of transactions older than all that still run: so
    nothing ever appears before a row that has been read.
    """

    __tablename__ = "event"

    transaction_id: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, server_default=text("pg_current_xact_id()::text::bigint")
    )
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    kind: Mapped[str]
    """`issue.created`, `issue.changed`, `issue.deleted` or `job.changed`."""
    issue_id: Mapped[UUID | None]
    """No foreign key: nobody who writes waits for it."""
    job_id: Mapped[UUID | None]
    task: Mapped[str | None]
    state: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Webhook(Base):
    """An address in another system that is told of events, as Standard Webhooks says."""

    __tablename__ = "webhook"
    __table_args__ = (CheckConstraint("cardinality(events) > 0", name="events"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    url: Mapped[str]
    events: Mapped[list[str]]
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    deactivated_reason: Mapped[str | None]
    """Why a worker deactivated it; null where a person did."""
    secret: Mapped[str]
    """In clear, since every delivery is signed with it; never answered again, never logged."""
    previous_secret: Mapped[str | None]
    previous_secret_until: Mapped[datetime | None]
    """Until then a delivery is signed with the secret before as well."""
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class WebhookDelivery(Base):
    """One event for one webhook: what its job tells. State, attempts and errors are the job's.

    Written by triggers, in the transaction of what it tells. What is sent is made when it is sent.
    """

    __tablename__ = "webhook_delivery"
    __table_args__ = (Index(None, "webhook_id", "job_id"),)

    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    webhook_id: Mapped[UUID]
    """No foreign key: nobody who writes an issue waits for whoever changes a webhook, or counts as its reader."""
    event: Mapped[str]
    issue_id: Mapped[UUID | None]
    """Null of a test. It is not the job's: deleting an issue ends that one's jobs, and this has to tell of it."""
    status_code: Mapped[int | None]
    """What the receiver last answered."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DeadMessage(Base):
    """A message that is no job of the ledger and that no worker can run; kept until a person decides."""

    __tablename__ = "dead_message"
    __table_args__ = (
        CheckConstraint(_one_of("reason", RejectionReason), name="reason"),
        CheckConstraint(_one_of("state", DeadMessageState), name="state"),
        Index(None, "state", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    digest: Mapped[bytes] = mapped_column(unique=True)
    """SHA-256 of the raw message: the same message is kept once."""
    queue: Mapped[str]
    reason: Mapped[str]
    error: Mapped[str]
    worker: Mapped[str]
    raw: Mapped[bytes]
    """As it lay in the queue, cut at `contracts.limits.RAW_MESSAGE_MAX`."""
    state: Mapped[str] = mapped_column(server_default=DeadMessageState.DEAD)
    note: Mapped[str | None]
    """Why a person discarded it."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    decided_at: Mapped[datetime | None]


class Circuit(Base):
    """Failures of the provider that a task depends on; while `open_until` lies ahead its jobs wait."""

    __tablename__ = "circuit"

    task: Mapped[str] = mapped_column(primary_key=True)
    """Its name; `webhook:ID` for the deliveries to one webhook, which do not wait for those to another."""
    provider: Mapped[str]
    failures: Mapped[int]
    """In a row, by any worker."""
    last_error: Mapped[str]
    open_until: Mapped[datetime | None]


class IssueSearch(Base):
    """An issue as similar ones are looked for: by its words, and by its meaning where a model gave it a vector.

    Where the server has pgvector, the migration adds an index on the vectors; the column needs no extension.
    """

    __tablename__ = "issue_search"
    __table_args__ = (Index(None, "words", postgresql_using="gin", postgresql_with={"fastupdate": "off"}),)

    issue_id: Mapped[UUID] = mapped_column(ForeignKey("issue.id", ondelete="CASCADE"), primary_key=True)
    words: Mapped[str] = mapped_column(TSVECTOR)
    """Lexemes of the title (weight A) and of the description's prose (weight B)."""
    embedding: Mapped[list[float] | None] = mapped_column(ARRAY(REAL))
    """A unit vector, so that the inner product of two is their cosine."""
    model: Mapped[str | None]
    """What made the vector; vectors of two models cannot be compared."""
    indexed_at: Mapped[datetime] = mapped_column(server_default=func.now())
