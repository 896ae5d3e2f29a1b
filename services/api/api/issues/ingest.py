"""New issues of principals that may only create issues, such as a form or a crash reporter."""

from uuid import UUID

from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict, Field

from api.access.principal import current_principal
from api.issues.schemas import IssueCreate


class IngestedIssue(BaseModel):
    """The response to a new issue of a token with the scope `issues:ingest`."""

    model_config = ConfigDict(extra="forbid")

    id: UUID
    project: str
    url: str = Field(description="Path of the issue, for principals that may read it")


def bind_project(new: IssueCreate) -> IssueCreate:
    """Return the issue in a project of the principal; raise a 403 error if it names another one.

    An issue without a project gets the only project of the principal. An external id is not allowed, because it is
    unique across projects: the response would show whether another project has it.
    """
    principal = current_principal()
    if not principal.is_ingest_only:
        return new
    if new.external is not None:
        raise HTTPException(403, f"external: {principal.name} may not set it. Use an Idempotency-Key instead.")
    projects = principal.projects
    if new.project in projects:
        return new
    if len(projects) == 1 and "project" not in new.model_fields_set:
        return new.model_copy(update={"project": projects[0]})
    raise HTTPException(
        403,
        f'project: "{new.project}" is not allowed for {principal.name}. Use {" or ".join(projects)}.',
    )
