"""`issuetracker issues create|list|show|import|erase`."""

import sys
from typing import Annotated, Any
from uuid import UUID

import typer

from contracts.states import IssueSort, IssueStatus, Priority
from issuetracker_cli.client import call
from issuetracker_cli.erasures import erase_issue
from issuetracker_cli.imports import import_file
from issuetracker_cli.output import AsJson, format_time, print_json, print_line, print_table
from issuetracker_cli.pages import fetch

TITLE_WIDTH = 60

app = typer.Typer(help="Create, list, show, import and erase issues.", no_args_is_help=True)
app.command("import")(import_file)
app.command("erase")(erase_issue)


@app.command()
def create(
    title: Annotated[str, typer.Argument(help="Title of the issue.")],
    description: Annotated[str, typer.Option(help="Description; - reads it from standard input.")] = "",
    priority: Annotated[Priority, typer.Option(help="Priority of the issue.")] = Priority.MEDIUM,
    project: Annotated[str, typer.Option(help="Project whose model applies.")] = "default",
    as_json: AsJson = False,
) -> None:
    """Create an issue and print its id. Workers enrich it in the background."""
    text = sys.stdin.read() if description == "-" else description
    body = {"title": title, "description": text, "priority": priority.value, "project": project}
    issue = call("POST", "/issues", json=body)
    if as_json:
        print_json(issue)
    else:
        print_line(issue["id"])


@app.command("list")
def list_issues(  # noqa: PLR0913 - each filter is an option
    *,
    query: Annotated[
        str | None, typer.Option("--q", help="Words and filters, such as `crash* is:open tag:bug`.")
    ] = None,
    status: Annotated[IssueStatus | None, typer.Option(help="Only issues with this status.")] = None,
    priority: Annotated[Priority | None, typer.Option(help="Only issues with this priority.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only issues with this tag. Repeat it to require several tags.")
    ] = None,
    project: Annotated[str | None, typer.Option(help="Only issues of this project.")] = None,
    sort: Annotated[
        IssueSort | None, typer.Option(help="Sort order. [default: relevance with --q, else -created]")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of issues.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List and search issues."""
    filters = {"q": query, "status": status, "priority": priority, "tag": tag, "project": project, "sort": sort}
    issues = fetch("/issues", limit, **{name: value for name, value in filters.items() if value})
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
    """Print an issue and its enrichment."""
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
        "tags": ", ".join(issue["tags"]) + (f"  (confirmed: {confirmed})" if confirmed else ""),
        "enrichment": _run(issue) + (" (outdated: the text has changed)" if issue["stale"] else ""),
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
