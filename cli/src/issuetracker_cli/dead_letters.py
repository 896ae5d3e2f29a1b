"""`issuetracker dead-letters list|show|replay|discard`."""

import json
from typing import Annotated, Any
from uuid import UUID

import typer

from issuetracker_cli.client import call

app = typer.Typer(help="Jobs and messages that no machine can mend.", no_args_is_help=True)

Letters = Annotated[list[UUID], typer.Argument(metavar="ID...", help="As `list` prints them.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON.")]


@app.command("list")
def list_letters(
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100, as_json: AsJson = False
) -> None:
    """List what waits for a decision, newest first."""
    letters = _letters(limit)
    if as_json:
        typer.echo(json.dumps(letters, indent=2))
        return
    for letter in letters:
        what, died = letter["task"] or letter["queue"], (letter["died_at"] or "")[:19]
        typer.echo(
            f"{letter['id']}  {died}  {letter['kind']} {what}  attempts {letter['attempts']}  {letter['error']}"
        )
    typer.echo(f"{len(letters)} dead letters")


@app.command()
def show(letter: Annotated[UUID, typer.Argument(metavar="ID")]) -> None:
    """Print all that is known of one: every attempt with its traceback, or the raw message."""
    typer.echo(json.dumps(call("GET", f"/dead-letters/{letter}"), indent=2))


@app.command()
def replay(letters: Letters) -> None:
    """Run dead jobs again, make dead messages jobs of the ledger; safe to repeat."""
    for letter in letters:
        _print(call("POST", f"/dead-letters/{letter}/replay"))


@app.command()
def discard(letters: Letters, reason: Annotated[str, typer.Option(help="Why; kept with it.")]) -> None:
    """Give dead letters up; safe to repeat."""
    for letter in letters:
        _print(call("POST", f"/dead-letters/{letter}/discard", json={"reason": reason}))


def _letters(limit: int) -> list[dict[str, Any]]:
    letters: list[dict[str, Any]] = []
    cursor: str | None = None
    while len(letters) < limit:
        page = call(
            "GET",
            "/dead-letters",
            params={"limit": min(100, limit - len(letters)), **({"cursor": cursor} if cursor else {})},
        )
        letters += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    return letters


def _print(decision: dict[str, Any]) -> None:
    typer.echo(f"{decision['kind']} {decision['id']} is {decision['state']}")
