"""`issuetracker dead-letters list|show|replay|discard`."""

from typing import Annotated, Any
from uuid import UUID

import typer

from issuetracker_cli.client import call
from issuetracker_cli.output import AsJson, print_json, print_line
from issuetracker_cli.pages import fetch

app = typer.Typer(help="Jobs and messages that no machine can mend.", no_args_is_help=True)

Letters = Annotated[list[UUID], typer.Argument(metavar="ID...", help="As `list` prints them.")]


@app.command("list")
def list_letters(
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100, as_json: AsJson = False
) -> None:
    """List what waits for a decision, newest first."""
    letters = fetch("/dead-letters", limit)
    if as_json:
        print_json(letters)
        return
    for letter in letters:
        what, died = letter["task"] or letter["queue"], (letter["died_at"] or "")[:19]
        print_line(
            f"{letter['id']}  {died}  {letter['kind']} {what}  attempts {letter['attempts']}  {letter['error']}"
        )
    print_line(f"{len(letters)} dead letters")


@app.command()
def show(letter: Annotated[UUID, typer.Argument(metavar="ID")]) -> None:
    """Print all that is known of one: every attempt with its traceback, or the raw message."""
    print_json(call("GET", f"/dead-letters/{letter}"))


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


def _print(decision: dict[str, Any]) -> None:
    print_line(f"{decision['kind']} {decision['id']} is {decision['state']}")
