"""`issuetracker sessions list|end`."""

from typing import Annotated
from uuid import UUID

import typer

from issuetracker_cli.client import call
from issuetracker_cli.output import AsJson, format_time, print_json, print_table

app = typer.Typer(help="List and end the page's sessions of your token.", no_args_is_help=True)


@app.command("list")
def list_sessions(as_json: AsJson = False) -> None:
    """List the open sessions, newest first."""
    sessions = call("GET", "/sessions")["items"]
    if as_json:
        print_json(sessions)
        return
    print_table(
        ("ID", "ADDRESS", "STARTED", "LAST USED", "EXPIRES"),
        [
            (
                *(session["id"], session["address"]),
                *(format_time(session[name]) for name in ("created_at", "last_used_at", "expires_at")),
            )
            for session in sessions
        ],
    )


@app.command()
def end(sessions: Annotated[list[UUID], typer.Argument(metavar="ID...", help="Ids of sessions.")]) -> None:
    """End sessions. Their browsers must log in again."""
    for session in sessions:
        call("DELETE", f"/sessions/{session}")
        typer.echo(f"{session} has ended")
