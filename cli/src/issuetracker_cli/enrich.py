"""`issuetracker enrich`."""

import time
from typing import Annotated
from uuid import UUID

import typer

from issuetracker_cli.client import FAILED, call
from issuetracker_cli.output import AsJson, print_json, print_line

POLL_S = 0.3

_FINISHED = {"succeeded", "dead", "skipped", "cancelled"}


def enrich(
    issue_id: Annotated[UUID, typer.Argument(metavar="ID")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the run finishes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Enrich an issue again. Tags that a user has set are not changed.

    Exit codes: 1 with --wait if the run did not succeed, 2 if another run is unfinished.
    """
    run = call("POST", f"/issues/{issue_id}/enrichments")
    while wait and run["state"] not in _FINISHED:
        time.sleep(POLL_S)
        run = call("GET", f"/issues/{issue_id}/enrichments/{run['id']}")
    if as_json:
        print_json(run)
    else:
        print_line(
            ": ".join(filter(None, (f"run {run['id']} is {run['state']}", run.get("summary"), run.get("error"))))
        )
    if run["state"] in _FINISHED - {"succeeded"}:
        raise typer.Exit(FAILED)
