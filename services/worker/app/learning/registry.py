"""Projects' models in the database: what is active, and what a training adds."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from contracts.ids import new_id
from contracts.states import ModelKind
from contracts.tables import ActiveModel, AuditEntry, ProjectModel


@dataclass(frozen=True, slots=True)
class Stored:
    """A model as it is kept."""

    id: UUID
    base_version: str
    parameters: bytes
    sha256: bytes
    created_at: datetime


def active_ids(session: Session, project: str) -> dict[ModelKind, UUID]:
    """Return the ids of the project's active models; a kind that is missing is answered by the base."""
    active = select(ActiveModel.kind, ActiveModel.model_id).where(
        ActiveModel.project == project, ActiveModel.model_id.is_not(None)
    )
    return {ModelKind(row.kind): row.model_id for row in session.execute(active)}


def load(session: Session, model_id: UUID) -> Stored:
    """Return a model with its parameters."""
    wanted = select(
        ProjectModel.id,
        ProjectModel.base_version,
        ProjectModel.parameters,
        ProjectModel.sha256,
        ProjectModel.created_at,
    ).where(ProjectModel.id == model_id)
    return Stored(*session.execute(wanted).one())


def add(session: Session, model: ProjectModel, *, activate: bool, actor: str) -> None:
    """Keep a model, make it the active one where it deserves that, and say so in the audit log."""
    replaced = active_ids(session, model.project).get(ModelKind(model.kind))
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
