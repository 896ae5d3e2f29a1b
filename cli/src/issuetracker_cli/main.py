"""The command `issuetracker`."""

import sys

import typer
from typer.exceptions import TyperException

from issuetracker_cli import dead_letters, model
from issuetracker_cli.client import BAD_INPUT
from issuetracker_cli.doctor import doctor

app = typer.Typer(
    name="issuetracker",
    help="Work with an IssueTracker at ISSUETRACKER_URL (http://127.0.0.1:8000). "
    "Exit codes: 0 done, 2 bad input, 3 the API does not answer; `doctor` has further ones.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(model.app, name="model")
app.command()(doctor)


def main() -> None:
    """Run the command line; bad input is one line and exit code 2."""
    command = typer.main.get_command(app)
    try:
        sys.exit(command.main(standalone_mode=False))
    except typer.Abort:
        sys.exit(130)
    except TyperException as error:
        typer.echo(f"issuetracker: {error.format_message()}", err=True)
        sys.exit(BAD_INPUT)
