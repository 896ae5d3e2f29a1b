"""Entity tags and the conditions on them (RFC 9110, sections 8.8 and 13).

A tag is a digest of the representation itself: strong by definition, whoever wrote the rows behind it.
"""

from hashlib import blake2b

from fastapi import HTTPException
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPE = "application/json"


def etag_of(body: bytes) -> str:
    """Return the strong entity tag of a representation."""
    return f'"{blake2b(body, digest_size=16).hexdigest()}"'


def represent(model: BaseModel, *, status: int = 200) -> Response:
    """Return the model as JSON with its entity tag."""
    body = model.model_dump_json().encode()
    return Response(body, status, {"ETag": etag_of(body)}, MEDIA_TYPE)


def represent_if_changed(request: Request, model: BaseModel) -> Response:
    """Return the model as JSON, or 304 where the client's `If-None-Match` names what it would get."""
    answer = represent(model)
    tag = answer.headers["ETag"]
    known = _tags(request, "if-none-match")
    if known is not None and ("*" in known or tag in {each.removeprefix("W/") for each in known}):
        return Response(status_code=304, headers={"ETag": tag})
    return answer


def require_match(request: Request, model: BaseModel) -> None:
    """Raise a 412 unless the client's `If-Match`, where it sends one, names the representation as it is now."""
    wanted = _tags(request, "if-match")
    if wanted is None or "*" in wanted:
        return
    tag = etag_of(model.model_dump_json().encode())
    if tag not in wanted:
        raise HTTPException(412, "It has changed since: get it again, and decide anew.", {"ETag": tag})


def _tags(request: Request, header: str) -> list[str] | None:
    values = request.headers.getlist(header)
    return [tag.strip() for value in values for tag in value.split(",")] if values else None
