"""`issuetracker audit`."""

import json
from typing import Annotated

import typer

from issuetracker_cli.output import AsJson, format_time, print_json, print_table
from issuetracker_cli.pages import fetch


def show(
    actor: Annotated[str | None, typer.Option(help="Name of a token, admin-token, or anonymous.")] = None,
    action: Annotated[str | None, typer.Option(help="Action, such as issue.tags_confirmed.")] = None,
    subject: Annotated[str | None, typer.Option(help="Id or name of the changed object.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of entries.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List audit log entries, newest first. Requires the admin scope."""
    filters = {"actor": actor, "action": action, "subject": subject}
    entries = fetch("/audit", limit, **{name: value for name, value in filters.items() if value is not None})
    if as_json:
        print_json(entries)
        return
    print_table(
        ("TIME", "ACTOR", "ACTION", "SUBJECT", "DETAIL"),
        [
            (
                *(format_time(entry["created_at"]), entry["actor"], entry["action"], entry["subject"]),
                json.dumps(entry["detail"]) if entry["detail"] else "",
            )
            for entry in entries
        ],
    )
