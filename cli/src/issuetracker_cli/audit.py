"""`issuetracker audit` and `issuetracker audit verify`."""

import json
from typing import Annotated, Any

import typer

from issuetracker_cli.client import FAILED, call
from issuetracker_cli.output import AsJson, format_time, print_json, print_line, print_table
from issuetracker_cli.pages import fetch

app = typer.Typer(help="List the audit log, or check it for tampering.")


@app.callback(invoke_without_command=True)
def show(  # noqa: PLR0913, PLR0917 - each filter is an option
    context: typer.Context,
    actor: Annotated[str | None, typer.Option(help="Name of a token, admin-token, or anonymous.")] = None,
    action: Annotated[str | None, typer.Option(help="Action, such as issue.tags_confirmed.")] = None,
    subject: Annotated[str | None, typer.Option(help="Id or name of the changed object.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of entries.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List audit log entries, newest first. Requires the admin scope."""
    if context.invoked_subcommand is not None:
        return
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


@app.command()
def verify(
    head: Annotated[
        str | None, typer.Option(help="Head of an earlier verification, which the log must still contain.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that no entry was changed, deleted or forged. Exit with code 1 at the first fault.

    Store the printed head outside the database: an attacker who controls the database can compute a new chain.
    Requires the admin scope.
    """
    result = _verify(head)
    if as_json:
        print_json(result)
    else:
        _print(result)
    if result["fault"] is not None:
        raise typer.Exit(FAILED)


def _verify(head: str | None) -> dict[str, Any]:
    """Return the result of all pages."""
    query = {} if head is None else {"head": head}
    result: dict[str, Any] = call("GET", "/audit/verification", params=query)
    page = result
    while page["next_cursor"] is not None:
        page = call("GET", "/audit/verification", params={**query, "cursor": page["next_cursor"]})
        result = {
            **{name: result[name] + page[name] for name in ("seals", "entries", "waiting")},
            "first_at": result["first_at"] or page["first_at"],
            "last_at": page["last_at"] or result["last_at"],
            "head": page["head"] or result["head"],
            "contains_head": result["contains_head"] or page["contains_head"],
            "fault": page["fault"],
        }
    if result["contains_head"] is False and result["fault"] is None:
        detail = f"The log does not contain the head {head}. Entries were deleted, or a new chain was computed."
        result["fault"] = {"detail": detail, "entry_id": None, "number": None, "created_at": None}
    return result


def _print(result: dict[str, Any]) -> None:
    head, fault = result["head"], result["fault"]
    times = f" from {format_time(result['first_at'])} to {format_time(result['last_at'])}"
    print_line(f"entries: {result['entries']}{times if result['entries'] else ''}")
    print_line(f"seals: {result['seals']}; waiting: {result['waiting']}")
    print_line("head: -" if head is None else f"head: {head['hash']} (seal {head['number']})")
    if fault is None:
        print_line("intact")
    elif fault["entry_id"] is None:
        print_line(f"fault: {fault['detail']}")
    else:
        seal = "no seal" if fault["number"] is None else f"seal {fault['number']}"
        print_line(
            f"fault: entry {fault['entry_id']}, {format_time(fault['created_at'])}, {seal}: {fault['detail']}"
        )
