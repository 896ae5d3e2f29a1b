"""Calls the API, and turns what goes wrong into one line and an exit code."""

import os
from typing import Any, NoReturn

import httpx
import typer

BAD_INPUT = 2
UNAVAILABLE = 3
DEFAULT_URL = "http://127.0.0.1:8000"


def fail(message: str, code: int) -> NoReturn:
    """Print one line to standard error and exit."""
    typer.echo(f"issuetracker: {message}", err=True)
    raise typer.Exit(code)


def call(method: str, path: str, **arguments: Any) -> Any:
    """Call the API at ISSUETRACKER_URL and return its JSON answer.

    Exit code 2: the API refused the input. 3: it does not answer, or cannot work now.
    """
    url = os.environ.get("ISSUETRACKER_URL", DEFAULT_URL)
    try:
        answer = httpx.request(method, f"{url}/api/v1{path}", timeout=30, **arguments)
        body = answer.json()
    except httpx.InvalidURL as error:
        fail(f"ISSUETRACKER_URL: {error}", BAD_INPUT)
    except httpx.HTTPError as error:
        fail(f"no answer from {url} (ISSUETRACKER_URL): {error}", UNAVAILABLE)
    except ValueError:
        fail(f"{url} (ISSUETRACKER_URL) does not answer like IssueTracker's API", UNAVAILABLE)
    if answer.is_error:
        fail(
            body.get("detail", f"status {answer.status_code}"),
            UNAVAILABLE if answer.is_server_error else BAD_INPUT,
        )
    return body
