"""Calls the API, and turns what goes wrong into one line and an exit code."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NoReturn

import httpx
import typer

FAILED = 1
BAD_INPUT = 2
UNAVAILABLE = 3
NOT_ALLOWED = 4
EXIT_CODES = (
    "0 done, 1 done in part, 2 bad input, 3 the API does not answer or is busy, 4 the token is missing or may not."
)

_DENIED = {401, 403}
_BUSY = {429}


@dataclass(frozen=True)
class Target:
    """Which API to call, and the token for it; the program's own options."""

    url: str
    token: str | None


TARGET: ContextVar[Target] = ContextVar("target")
"""Set once, before any command runs."""


def fail(message: str, code: int) -> NoReturn:
    """Print one line to standard error and exit."""
    typer.echo(f"issuetracker: {' '.join(message.split())}", err=True)
    raise typer.Exit(code)


def call(method: str, path: str, headers: Mapping[str, str] | None = None, **arguments: Any) -> Any:
    """Call the API and return its JSON answer, None where it has none.

    Exit code 2: the API refused the input. 3: it does not answer, or cannot work now. 4: the token may not.
    """
    target = TARGET.get()
    sent = {**(headers or {}), **({"Authorization": f"Bearer {target.token}"} if target.token else {})}
    try:
        answer = httpx.request(method, f"{target.url}/api/v1{path}", headers=sent, timeout=30, **arguments)
        body = answer.json() if answer.content else None
    except httpx.InvalidURL as error:
        fail(f"ISSUETRACKER_URL: {error}", BAD_INPUT)
    except httpx.HTTPError as error:
        fail(f"no answer from {target.url} (ISSUETRACKER_URL): {error}", UNAVAILABLE)
    except ValueError:
        fail(f"{target.url} (ISSUETRACKER_URL) does not answer like IssueTracker's API", UNAVAILABLE)
    if answer.is_error:
        fail(_detail(answer.status_code, body), _exit_code(answer.status_code))
    return body


def _exit_code(status: int) -> int:
    if status in _DENIED:
        return NOT_ALLOWED
    return UNAVAILABLE if status >= 500 or status in _BUSY else BAD_INPUT


def _detail(status: int, body: Any) -> str:
    detail = body.get("detail") if isinstance(body, dict) else None
    return f"{detail or f'status {status}'}{' Set ISSUETRACKER_TOKEN.' if status == 401 else ''}"
