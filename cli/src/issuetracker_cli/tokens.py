"""`issuetracker tokens create|list|revoke`."""

from typing import Annotated
from uuid import UUID

import typer

from contracts.states import Scope
from issuetracker_cli.client import BAD_INPUT, call, fail
from issuetracker_cli.output import AsJson, format_time, print_json, print_table
from issuetracker_cli.pages import fetch

ALL = 1_000_000

app = typer.Typer(help="Tokens that let people and programs use the API; for admins.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what is to have it; the audit log shows it.")],
    scope: Annotated[list[Scope], typer.Option(help="May be repeated; admin includes the others.")],
    expires_in_days: Annotated[int, typer.Option(min=1, help="Then it lets nobody in.")] = 90,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, this once: to standard output, so that a script can keep it."""
    scopes = [each.value for each in scope]
    made = call("POST", "/tokens", json={"name": name, "scopes": scopes, "expires_in_days": expires_in_days})
    if as_json:
        print_json(made)
        return
    typer.echo(
        f"{made['name']} may {', '.join(made['scopes'])} until {format_time(made['expires_at'])}. "
        "It is shown this once:",
        err=True,
    )
    typer.echo(made["token"])


@app.command("list")
def list_tokens(
    show_all: Annotated[bool, typer.Option("--all", help="Also what has expired or was revoked.")] = False,
    as_json: AsJson = False,
) -> None:
    """List tokens, newest first; of each its first characters, to tell which one a program holds."""
    tokens = [token for token in fetch("/tokens", ALL) if show_all or token["state"] == "active"]
    if as_json:
        print_json(tokens)
        return
    print_table(
        ("ID", "NAME", "TOKEN", "SCOPES", "STATE", "EXPIRES", "LAST USED"),
        [
            (
                *(token["id"], token["name"], f"{token['hint']}...", ",".join(token["scopes"]), token["state"]),
                *(format_time(token["expires_at"]), format_time(token["last_used_at"])),
            )
            for token in tokens
        ],
    )


@app.command()
def revoke(
    tokens: Annotated[list[str], typer.Argument(metavar="ID|NAME...", help="As `list` prints them.")],
) -> None:
    """Let nobody in with them any more; safe to repeat by id."""
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
        fail(f"there is no token {token} that is not revoked", BAD_INPUT)
    return str(named[0])
