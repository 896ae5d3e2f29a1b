"""`issuetracker pauses create|list|delete`."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from contracts.states import PauseKind
from issuetracker_cli.client import call
from issuetracker_cli.output import AsJson, format_time, print_json, print_line, print_table

app = typer.Typer(
    help="Pause and resume a queue, a task or a project. Requires the admin scope.", no_args_is_help=True
)

Kind = Annotated[PauseKind, typer.Argument(help="What to pause or resume.")]
Name = Annotated[str, typer.Argument(help="Name of the queue, the task or the project.")]


@app.command()
def create(
    kind: Kind,
    name: Name,
    reason: Annotated[str | None, typer.Option(help="Reason, shown to everyone who sees the queues.")] = None,
    as_json: AsJson = False,
) -> None:
    """Start no further jobs of a queue, a task or a project. Running jobs end. Safe to repeat."""
    pause = call("PUT", _path(kind, name), json={"reason": reason})
    if as_json:
        print_json(pause)
        return
    print_line(f"{kind} {name} is paused")


@app.command("list")
def list_pauses(as_json: AsJson = False) -> None:
    """List the pauses by kind and name."""
    pauses = call("GET", "/pauses")["items"]
    if as_json:
        print_json(pauses)
        return
    print_table(
        ("KIND", "NAME", "SINCE", "BY", "REASON"),
        [
            (
                *(pause["kind"], pause["name"], format_time(pause["paused_at"]), pause["paused_by"]),
                _one_line(pause["reason"] or "-"),
            )
            for pause in pauses
        ],
    )


@app.command()
def delete(kind: Kind, name: Name) -> None:
    """Resume a queue, a task or a project. Its waiting jobs start at once. Safe to repeat."""
    call("DELETE", _path(kind, name))
    print_line(f"{kind} {name} is resumed")


def describe(pause: dict[str, Any]) -> str:
    """Return what is paused, since when, by whom and why, in one line."""
    since = f"since {format_time(pause['paused_at'])} by {pause['paused_by']}"
    reason = f": {_one_line(pause['reason'])}" if pause["reason"] else ""
    return f"{pause['kind'].capitalize()} {pause['name']} is paused {since}{reason}"


def _path(kind: PauseKind, name: str) -> str:
    # A name may contain slashes, and dots that would be segments of the path.
    return f"/pauses/{kind}/{quote(name, safe='').replace('.', '%2E')}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
