"""The command `issuetracker`."""

import sys
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from contracts.validation import describe_error
from issuetracker_cli import (
    audit,
    dead_letters,
    erasures,
    issues,
    model,
    pauses,
    schedules,
    sessions,
    tokens,
    webhooks,
)
from issuetracker_cli.client import BAD_INPUT, EXIT_CODES, TARGET, Target
from issuetracker_cli.doctor import doctor
from issuetracker_cli.enrich import enrich
from issuetracker_cli.queues import queues

app = typer.Typer(
    name="issuetracker",
    help=f"Use IssueTracker through its HTTP API. Exit codes: {EXIT_CODES} `doctor` has more exit codes.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(issues.app, name="issues")
app.add_typer(erasures.projects, name="projects")
app.command()(enrich)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(model.app, name="model")
app.command()(queues)
app.add_typer(pauses.app, name="pauses")
app.add_typer(schedules.app, name="schedules")
app.command()(doctor)
app.add_typer(tokens.app, name="tokens")
app.add_typer(sessions.app, name="sessions")
app.add_typer(audit.app, name="audit")
app.add_typer(webhooks.app, name="webhooks")


@app.callback()
def target(
    url: Annotated[str, typer.Option(envvar="ISSUETRACKER_URL", help="URL of the API.")] = "http://127.0.0.1:8000",
    token: Annotated[
        str | None,
        typer.Option(
            envvar="ISSUETRACKER_TOKEN",
            show_envvar=True,
            help="API token. Prefer the variable: other users of this machine can read the option.",
        ),
    ] = None,
) -> None:
    """Store the URL and the token for the commands."""
    TARGET.set(Target(url.rstrip("/"), token))


def main() -> None:
    """Run the command line; report invalid input as one line and exit code 2."""
    command = typer.main.get_command(app)
    try:
        sys.exit(command.main(standalone_mode=False))
    except typer.Abort:
        sys.exit(130)
    except TyperException as error:
        message = error.format_message()
        # A group without a command raises its help text, whose lines must stay.
        is_help = message.startswith("Usage: ")
        typer.echo(message if is_help else f"issuetracker: {_describe(error)}", err=True)
        sys.exit(BAD_INPUT)


def _describe(error: TyperException) -> str:
    """Return an error of the command line in one line. typer validates values with pydantic."""
    cause: Any = error.__cause__
    message = " ".join(error.format_message().split())
    if not hasattr(cause, "errors"):
        return message
    _, name, _ = message.split("'", 2)
    return f"{name}: {' '.join(map(describe_error, cause.errors(include_url=False)))}"
