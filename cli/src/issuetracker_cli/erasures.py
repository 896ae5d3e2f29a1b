"""`issuetracker issues erase` and `issuetracker projects erase`."""

import time
from typing import Annotated, Any
from uuid import UUID

import typer

from issuetracker_cli.client import call
from issuetracker_cli.output import AsJson, print_json, print_line

POLL_S = 0.3

Wait = Annotated[bool, typer.Option("--wait", help="Wait until a worker has erased the text.")]

projects = typer.Typer(help="Erase projects.", no_args_is_help=True)


@projects.callback()
def _projects() -> None:
    # Without a callback, typer makes the only command the group itself.
    pass


def erase_issue(
    issue_id: Annotated[UUID, typer.Argument(metavar="ID")], wait: Wait = False, as_json: AsJson = False
) -> None:
    """Erase an issue, also a deleted one, from every table. This cannot be undone.

    Requires the scope issues:erase. Safe to repeat.
    """
    _report(f"issue {issue_id}", call("PUT", f"/erasures/{issue_id}"), wait, as_json)


@projects.command("erase")
def erase_project(
    name: Annotated[str, typer.Argument(metavar="NAME")], wait: Wait = False, as_json: AsJson = False
) -> None:
    """Erase all issues that a project has now, and its models. This cannot be undone.

    Requires the scope issues:erase. Safe to repeat.
    """
    _report(f"project {name}", call("PUT", "/erasures", json={"project": name}), wait, as_json)


def _report(subject: str, erasure: dict[str, Any], wait: bool, as_json: bool) -> None:
    while wait and erasure["finished_at"] is None:
        time.sleep(POLL_S)
        erasure = call("GET", f"/erasures/{erasure['id']}")
    if as_json:
        print_json(erasure)
    else:
        state = "is erased" if erasure["finished_at"] else "will be erased by a worker"
        print_line(f"{subject} {state}")
