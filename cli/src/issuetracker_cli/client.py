"""Call the API, and report errors as one line and an exit code."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlsplit

import typer

from issuetracker_cli.output import strip_control

FAILED = 1
BAD_INPUT = 2
UNAVAILABLE = 3
NOT_ALLOWED = 4
EXIT_CODES = (
    "0 success, 1 partial failure, 2 invalid input, 3 API unreachable or busy, "
    "4 authentication or authorization failed."
)

_DENIED = {401, 403}
_BUSY = {429}
_THIS_MACHINE = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True)
class Target:
    """The API's URL and token, from the options of the program."""

    url: str
    token: str | None


TARGET: ContextVar[Target] = ContextVar("target")
"""Set once, before any command runs."""


def fail(message: str, code: int) -> NoReturn:
    """Print one line to standard error and exit."""
    typer.echo(f"issuetracker: {strip_control(' '.join(message.split()))}", err=True)
    raise typer.Exit(code)


def call(method: str, path: str, headers: Mapping[str, str] | None = None, **arguments: Any) -> Any:
    """Call the API and return the JSON of its response, or None if the response is empty.

    Exit with code 2 for invalid input, 3 if the API is unreachable or busy, 4 if authentication or authorization
    failed.
    """
    import httpx  # noqa: PLC0415 - `--help` and shell completion start in half the time without it

    target = TARGET.get()
    authorization = {"Authorization": f"Bearer {target.token}"} if target.token else {}
    try:
        response = httpx.request(
            method,
            f"{target.url}/api/v1{path}",
            headers={**(headers or {}), **authorization},
            timeout=30,
            # A proxy of `http_proxy` cannot reach this machine.
            trust_env=urlsplit(target.url).hostname not in _THIS_MACHINE,
            **arguments,
        )
        body = response.json() if response.content else None
    except httpx.InvalidURL as error:
        fail(f"ISSUETRACKER_URL: {target.url} is not a valid URL: {error}.", BAD_INPUT)
    except httpx.HTTPError as error:
        fail(f"Cannot reach {target.url} (ISSUETRACKER_URL): {error}", UNAVAILABLE)
    except ValueError:
        fail(f"{target.url} (ISSUETRACKER_URL) is not an IssueTracker API. Check the URL.", UNAVAILABLE)
    if response.is_error:
        fail(_detail(response.status_code, body), _exit_code(response.status_code))
    return body


def _exit_code(status: int) -> int:
    if status in _DENIED:
        return NOT_ALLOWED
    return UNAVAILABLE if status >= 500 or status in _BUSY else BAD_INPUT


def _detail(status: int, body: Any) -> str:
    detail = body.get("detail") if isinstance(body, dict) else None
    hint = " Set ISSUETRACKER_TOKEN." if status == 401 else ""
    return f"{detail or f'The API returned status {status}.'}{hint}"
