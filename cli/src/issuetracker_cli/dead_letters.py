"""`issuetracker dead-letters list|show|replay|discard`."""

from typing import Annotated, Any
from uuid import UUID

import typer

from issuetracker_cli.client import call
from issuetracker_cli.output import AsJson, print_json, print_line
from issuetracker_cli.pages import fetch

app = typer.Typer(help="Replay or discard dead jobs and messages.", no_args_is_help=True)

Letters = Annotated[list[UUID], typer.Argument(metavar="ID...", help="Ids of dead letters.")]


@app.command("list")
def list_letters(
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of dead letters.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List dead letters that await a decision, newest first."""
    letters = fetch("/dead-letters", limit)
    if as_json:
        print_json(letters)
        return
    for letter in letters:
        name, died_at = letter["task"] or letter["queue"], (letter["died_at"] or "")[:19]
        print_line(
            f"{letter['id']}  {died_at}  {letter['kind']} {name}  attempts {letter['attempts']}  {letter['error']}"
        )
    print_line(f"{len(letters)} dead letter{'' if len(letters) == 1 else 's'}")


@app.command()
def show(letter: Annotated[UUID, typer.Argument(metavar="ID")]) -> None:
    """Print a dead letter: every attempt with its traceback, or the raw message."""
    print_json(call("GET", f"/dead-letters/{letter}"))


@app.command()
def replay(letters: Letters) -> None:
    """Run dead jobs again, and turn dead messages into jobs. Safe to repeat."""
    for letter in letters:
        _print(call("POST", f"/dead-letters/{letter}/replay"))


@app.command()
def discard(
    letters: Letters, reason: Annotated[str, typer.Option(help="Reason, stored with each dead letter.")]
) -> None:
    """Discard dead letters. Safe to repeat."""
    for letter in letters:
        _print(call("POST", f"/dead-letters/{letter}/discard", json={"reason": reason}))


def _print(decision: dict[str, Any]) -> None:
    # Without the scope issues:read, the response has only the id.
    state = f"is {decision['state']}" if "state" in decision else "is decided"
    print_line(f"{decision.get('kind', 'dead letter')} {decision['id']} {state}")
