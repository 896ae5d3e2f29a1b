"""All routes of the application, for the access tests."""

import re
from dataclasses import dataclass

from fastapi.routing import APIRoute, iter_route_contexts

from api.app import create_app
from api.settings import ApiSettings
from contracts.ids import new_id


@dataclass(frozen=True)
class Endpoint:
    """A method and a path, such as `GET /api/v1/issues/{issue_id}`."""

    method: str
    path: str
    is_api_route: bool

    @property
    def url(self) -> str:
        """Return the path with unknown ids."""
        return re.sub(r"\{[^}]*\}", lambda _: str(new_id()), self.path)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def endpoints() -> list[Endpoint]:
    """Return all endpoints of the application, including mounted ones, without HEAD."""
    return [
        Endpoint(method, str(context.path), isinstance(context.original_route, APIRoute))
        for context in iter_route_contexts(create_app(ApiSettings()).routes)
        for method in sorted(set(context.methods or {"GET"}) - {"HEAD"})
    ]
