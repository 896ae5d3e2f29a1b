"""`issuetracker tokens create|list|revoke`."""

from typing import Annotated
from uuid import UUID

import typer

from contracts.states import Scope
from issuetracker_cli.client import BAD_INPUT, call, fail
from issuetracker_cli.output import AsJson, format_time, print_json, print_table
from issuetracker_cli.pages import fetch

ALL = 1_000_000

app = typer.Typer(help="Create, list and revoke API tokens. Requires the admin scope.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the holder, shown in the audit log.")],
    scope: Annotated[list[Scope], typer.Option(help="Scope to grant. Repeat it for several; admin includes all.")],
    project: Annotated[
        list[str] | None, typer.Option(help="Project of a token with issues:ingest. Repeat it for several.")
    ] = None,
    expires_in_days: Annotated[int, typer.Option(min=1, help="Days until expiry.")] = 90,
    as_json: AsJson = False,
) -> None:
    """Create a token and print it to standard output. It is shown only once."""
    new = {"name": name, "scopes": [each.value for each in scope], "expires_in_days": expires_in_days}
    token = call("POST", "/tokens", json=new | ({"projects": project} if project else {}))
    if as_json:
        print_json(token)
        return
    typer.echo(
        f"Token {token['name']} with the scopes {', '.join(token['scopes'])} "
        f"expires at {format_time(token['expires_at'])}. It is shown only once:",
        err=True,
    )
    typer.echo(token["token"])


@app.command("list")
def list_tokens(
    show_all: Annotated[bool, typer.Option("--all", help="Include expired and revoked tokens.")] = False,
    as_json: AsJson = False,
) -> None:
    """List tokens with their first characters, newest first."""
    tokens = [token for token in fetch("/tokens", ALL) if show_all or token["state"] == "active"]
    if as_json:
        print_json(tokens)
        return
    print_table(
        ("ID", "NAME", "TOKEN", "SCOPES", "PROJECTS", "STATE", "EXPIRES", "LAST USED"),
        [
            (
                *(token["id"], token["name"], f"{token['hint']}...", ",".join(token["scopes"])),
                *(",".join(token.get("projects", [])), token["state"]),
                *(format_time(token["expires_at"]), format_time(token["last_used_at"])),
            )
            for token in tokens
        ],
    )


@app.command()
def revoke(
    tokens: Annotated[list[str], typer.Argument(metavar="ID|NAME...", help="Ids or names of tokens.")],
) -> None:
    """Revoke tokens and their sessions. Safe to repeat with ids."""
    for token in tokens:
        token_id = _id_of(token)
        call("DELETE", f"/tokens/{token_id}")
        typer.echo(f"{token} is revoked")


def _id_of(token: str) -> str:
    try:
        return str(UUID(token))
    except ValueError:
        named = [
            known["id"] for known in fetch("/tokens", ALL) if known["name"] == token and not known["revoked_at"]
        ]
    if not named:
        fail(f"Token {token} does not exist or is revoked. Run `issuetracker tokens list`.", BAD_INPUT)
    return str(named[0])
