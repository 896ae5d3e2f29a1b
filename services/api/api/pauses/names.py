"""The names that can be paused."""

from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

from api.issues.schemas import Project
from contracts.names import Queue, Task
from contracts.states import PauseKind

_NAMES: dict[PauseKind, TypeAdapter[Any]] = {
    PauseKind.QUEUE: TypeAdapter(Queue),
    PauseKind.TASK: TypeAdapter(Task),
    PauseKind.PROJECT: TypeAdapter(Project),
}


def check_name(kind: PauseKind, name: str) -> None:
    """Raise a 422 error unless it is the name of a queue, a task or a valid name of a project."""
    try:
        _NAMES[kind].validate_python(name)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        raise RequestValidationError([{**each, "loc": ("path", "name")} for each in errors]) from None
