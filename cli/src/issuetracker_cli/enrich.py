"""`issuetracker enrich`."""

import time
from typing import Annotated
from uuid import UUID

import typer

from issuetracker_cli.client import FAILED, call
from issuetracker_cli.output import AsJson, print_json, print_line

POLL_S = 0.3

_OVER = {"succeeded", "dead", "skipped", "cancelled"}


def enrich(
    issue_id: Annotated[UUID, typer.Argument(metavar="ID")],
    wait: Annotated[bool, typer.Option("--wait", help="Until the run is over.")] = False,
    as_json: AsJson = False,
) -> None:
    """Enrich an issue again; what people have set stays.

    Exit code 1, with --wait: the run has not succeeded. 2: another run waits or works.
    """
    run = call("POST", f"/issues/{issue_id}/enrichments")
    while wait and run["state"] not in _OVER:
        time.sleep(POLL_S)
        run = call("GET", f"/issues/{issue_id}/enrichments/{run['id']}")
    if as_json:
        print_json(run)
    else:
        print_line(": ".join(filter(None, (f"run {run['id']} is {run['state']}", run["summary"], run["error"]))))
    if run["state"] in _OVER - {"succeeded"}:
        raise typer.Exit(FAILED)
