"""Entity tags and conditional requests (RFC 9110, sections 8.8 and 13).

A tag is a digest of the representation, so it is strong by definition. A proxy that compresses responses changes
tags: nginx makes them weak (`W/"..."`, https://nginx.org/en/docs/http/ngx_http_gzip_module.html), Apache and Caddy
append the coding (`"...-gzip"`). The digest still identifies the representation, so every form of it matches.
"""

import re
from hashlib import blake2b

from fastapi import HTTPException
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from api.access.confirmation import may_read

MEDIA_TYPE = "application/json"
_CHANGED = re.compile(r'(?:W/)?"([0-9a-f]{32})(?:[-;][a-z]{1,10})?"')


def compute_etag(body: bytes) -> str:
    """Return the strong entity tag of a representation."""
    return f'"{blake2b(body, digest_size=16).hexdigest()}"'


def represent(model: BaseModel, *, status: int = 200) -> Response:
    """Return the model as JSON with its entity tag."""
    body = model.model_dump_json().encode()
    return Response(body, status, {"ETag": compute_etag(body)}, MEDIA_TYPE)


def represent_if_changed(request: Request, model: BaseModel) -> Response:
    """Return the model as JSON, or 304 if `If-None-Match` has its tag."""
    response = represent(model)
    tag = response.headers["ETag"]
    known = _tags(request, "if-none-match")
    if known is not None and ("*" in known or tag in known):
        return Response(status_code=304, headers={"ETag": tag})
    return response


def require_match(request: Request, model: BaseModel) -> None:
    """Raise a 412 error if the request has an `If-Match` header without the current tag."""
    expected = _tags(request, "if-match")
    if expected is None or "*" in expected:
        return
    tag = compute_etag(model.model_dump_json().encode())
    if tag not in expected:
        headers = {"ETag": tag} if may_read() else None
        raise HTTPException(412, "The resource has changed. Fetch it and retry.", headers)


def _tags(request: Request, header: str) -> list[str] | None:
    """Return the tags of a header as `compute_etag` returns them; None without the header."""
    values = request.headers.getlist(header)
    return [_restore(tag.strip()) for value in values for tag in value.split(",")] if values else None


def _restore(tag: str) -> str:
    """Return the tag that a proxy may have changed."""
    changed = _CHANGED.fullmatch(tag)
    return tag if changed is None else f'"{changed[1]}"'
