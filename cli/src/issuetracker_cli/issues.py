"""`issuetracker issues create|list|show|import`."""

import sys
from typing import Annotated, Any
from uuid import UUID

import typer

from contracts.states import IssueSort, IssueStatus, Priority
from issuetracker_cli.client import call
from issuetracker_cli.imports import import_file
from issuetracker_cli.output import AsJson, format_time, print_json, print_line, print_table
from issuetracker_cli.pages import fetch

TITLE_WIDTH = 60

app = typer.Typer(help="Issues, one and many.", no_args_is_help=True)
app.command("import")(import_file)


@app.command()
def create(
    title: Annotated[str, typer.Argument(help="One line.")],
    description: Annotated[str, typer.Option(help="- reads it from standard input.")] = "",
    priority: Annotated[Priority, typer.Option(help="As you see it.")] = Priority.MEDIUM,
    project: Annotated[str, typer.Option(help="Whose habits of tagging it follows.")] = "default",
    as_json: AsJson = False,
) -> None:
    """Create an issue and print its id; workers enrich it in the background."""
    text = sys.stdin.read() if description == "-" else description
    body = {"title": title, "description": text, "priority": priority.value, "project": project}
    made = call("POST", "/issues", json=body)
    if as_json:
        print_json(made)
    else:
        print_line(made["id"])


@app.command("list")
def list_issues(  # noqa: PLR0913 - each filter is an option
    *,
    query: Annotated[str | None, typer.Option("--q", help="Words in title or description.")] = None,
    status: Annotated[IssueStatus | None, typer.Option(help="Only these.")] = None,
    priority: Annotated[Priority | None, typer.Option(help="Only these.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="May be repeated: all of them.")] = None,
    project: Annotated[str | None, typer.Option(help="Only its issues.")] = None,
    sort: Annotated[
        IssueSort | None, typer.Option(help="The newest first, or the most relevant with --q.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List and search issues."""
    asked = {"q": query, "status": status, "priority": priority, "tag": tag, "project": project, "sort": sort}
    issues = fetch("/issues", limit, **{name: value for name, value in asked.items() if value})
    if as_json:
        print_json(issues)
        return
    print_table(
        ("ID", "CREATED", "STATUS", "PRIORITY", "ENRICHMENT", "TAGS", "TITLE"),
        [
            (
                *(issue["id"], format_time(issue["created_at"]), issue["status"], issue["priority"]),
                *(_run(issue), ",".join(issue["tags"]) or "-", _one_line(issue["title"])),
            )
            for issue in issues
        ],
    )


@app.command()
def show(issue_id: Annotated[UUID, typer.Argument(metavar="ID")], as_json: AsJson = False) -> None:
    """Print an issue and what was made of it."""
    issue = call("GET", f"/issues/{issue_id}")
    if as_json:
        print_json(issue)
        return
    external = issue["external"]
    confirmed = ", ".join(issue["confirmed_tags"])
    fields = {
        "id": issue["id"],
        "project": issue["project"],
        "status": issue["status"],
        "priority": issue["priority"],
        "tags": ", ".join(issue["tags"]) + (f"  (by people: {confirmed})" if confirmed else ""),
        "enrichment": _run(issue) + (", of an earlier text" if issue["stale"] else ""),
        "external": external and " ".join(filter(None, (external["source"], external["id"], external["url"]))),
        "created": format_time(issue["created_at"]),
        "updated": format_time(issue["updated_at"]),
        "summary": issue["ai_summary"],
    }
    print_line(issue["title"])
    for name, value in fields.items():
        print_line(f"{name:11} {value or '-'}")
    if issue["description"]:
        print_line(f"\n{issue['description']}")


def _run(issue: dict[str, Any]) -> str:
    return str(issue["enrichment"]["status"]) if issue["enrichment"] else "-"


def _one_line(title: str) -> str:
    words = " ".join(title.split())
    return words if len(words) <= TITLE_WIDTH else f"{words[: TITLE_WIDTH - 3]}..."
