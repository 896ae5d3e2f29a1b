"""Reads and writes the models of projects in the database."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from contracts.ids import new_id
from contracts.states import ModelKind
from contracts.tables import ActiveModel, AuditEntry, ProjectModel


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model as stored in the database."""

    id: UUID
    base_version: str
    parameters: bytes
    sha256: bytes
    created_at: datetime


_ACTIVE = select(ActiveModel.kind, ActiveModel.model_id).where(
    ActiveModel.project == bindparam("project"), ActiveModel.model_id.is_not(None)
)
_LOCK = select(ActiveModel.kind).where(ActiveModel.project == bindparam("project")).order_by(ActiveModel.kind)
_MODEL = select(
    ProjectModel.id,
    ProjectModel.base_version,
    ProjectModel.parameters,
    ProjectModel.sha256,
    ProjectModel.created_at,
).where(ProjectModel.id == bindparam("model"))


def find_active_ids(connection: Connection, project: str) -> dict[ModelKind, UUID]:
    """Return the ids of the project's active models. For a missing kind, the base model is active."""
    active = connection.execute(_ACTIVE, {"project": project})
    return {ModelKind(row.kind): row.model_id for row in active}


def load(connection: Connection, model_id: UUID) -> StoredModel:
    """Return a model with its parameters."""
    return StoredModel(*connection.execute(_MODEL, {"model": model_id}).one())


def add(session: Session, model: ProjectModel, *, activate: bool, actor: str) -> None:
    """Store a model, activate it if `activate` is true, and add an entry to the audit log."""
    # An erasure locks the pointers too, before it deletes models.
    session.execute(_LOCK.with_for_update(), {"project": model.project})
    replaced = find_active_ids(session.connection(), model.project).get(ModelKind(model.kind))
    model.replaced = replaced if activate else None
    session.add(model)
    session.flush()
    if activate:
        pointer = insert(ActiveModel).values(project=model.project, kind=model.kind, model_id=model.id)
        session.execute(
            pointer.on_conflict_do_update(
                index_elements=[ActiveModel.project, ActiveModel.kind],
                set_={"model_id": model.id, "updated_at": func.now()},
            )
        )
    session.add(
        AuditEntry(
            id=new_id(),
            actor=actor,
            action="project_model.activated" if activate else "project_model.kept_inactive",
            subject=model.project,
            detail={
                "model": str(model.id),
                "kind": model.kind,
                "replaced": None if replaced is None else str(replaced),
                "examples": model.examples,
                "metrics": model.metrics,
            },
        )
    )
