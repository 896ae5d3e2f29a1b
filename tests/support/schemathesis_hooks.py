"""Hooks for values whose validity depends on earlier requests, which a schema cannot express.

Examples are cursors, entity tags, Idempotency-Keys, originals of duplicates and the header of a CSV file. Other
tests cover them. Here each request has a new key and omits the other values. Each webhook has a public host.
"""

import os
import re
from typing import Any
from uuid import uuid4

import schemathesis

from tests.support.access import is_granted

AUTHORITY = re.compile(r'(?i)(https?)://[!"$-.0->A-~]*(?=[/?]|$)')
KEY = re.compile(r"[!-~]{1,255}")
CURSOR_MAX = 500


@schemathesis.serializer("application/x-ndjson", "text/csv")
def serialize_text(_context: Any, value: Any) -> bytes:
    """Return an import file unchanged."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    key = case.headers.get("Idempotency-Key") if case.headers else None
    if isinstance(key, str) and KEY.fullmatch(key):
        case.headers["Idempotency-Key"] = str(uuid4())
    if case.headers:
        case.headers.pop("If-Match", None)
    cursor = case.query.get("cursor") if case.query else None
    if isinstance(cursor, str) and len(cursor) <= CURSOR_MAX:
        del case.query["cursor"]
    if case.path == "/api/v1/imports" and isinstance(case.body, str):
        # Schemathesis sends an empty body without a content type.
        case.body = "title,external_id\n" if case.media_type == "text/csv" else case.body or "\n"
    if isinstance(case.body, dict) and isinstance(case.body.get("duplicate_of"), str):
        case.body = {name: value for name, value in case.body.items() if name != "duplicate_of"}
    if "/webhooks" in case.path and isinstance(case.body, dict) and isinstance(case.body.get("url"), str):
        case.body = {**case.body, "url": AUTHORITY.sub(r"\1://hooks.example.com", case.body["url"])}


@schemathesis.check
def denies_other_scopes(_context: Any, response: Any, case: Any) -> None:
    """Fail if an operation succeeds that the scope of the token, `TOKEN_KIND`, does not include."""
    kind = os.environ["TOKEN_KIND"]
    if not is_granted(case.operation.definition.raw["security"], kind):
        assert response.status_code >= 400, f"{kind} may not {case.method} {case.path}: {response.status_code}"
