"""`issuetracker webhooks create|list|delete|activate|deactivate|test|deliveries|rotate-secret`."""

from typing import Annotated, Any

import typer

from contracts.states import WebhookEvent
from issuetracker_cli.client import call
from issuetracker_cli.output import AsJson, format_time, print_json, print_table
from issuetracker_cli.pages import fetch

ALL = 1_000_000

app = typer.Typer(help="Other systems that are told of events; for admins.", no_args_is_help=True)

WebhookId = Annotated[str, typer.Argument(metavar="ID", help="As `list` prints it.")]


@app.command()
def create(
    url: Annotated[str, typer.Argument(help="Where events are delivered.")],
    event: Annotated[list[WebhookEvent], typer.Option(help="May be repeated.")],
    as_json: AsJson = False,
) -> None:
    """Make a webhook and print its secret, this once: to standard output, so that a script can keep it."""
    made = call("POST", "/webhooks", json={"url": url, "events": [each.value for each in event]})
    _print_secret(made, as_json)


@app.command("list")
def list_webhooks(as_json: AsJson = False) -> None:
    """List webhooks, newest first."""
    webhooks = fetch("/webhooks", ALL)
    if as_json:
        print_json(webhooks)
        return
    print_table(
        ("ID", "STATE", "EVENTS", "URL"),
        [(hook["id"], _state(hook), ",".join(hook["events"]), hook["url"]) for hook in webhooks],
    )


@app.command()
def delete(webhook: WebhookId) -> None:
    """Delete a webhook; what waits to be delivered to it ends skipped."""
    call("DELETE", f"/webhooks/{webhook}")
    typer.echo(f"{webhook} is deleted")


@app.command()
def activate(webhook: WebhookId) -> None:
    """Deliver to it from now on, also where a receiver's 410 has deactivated it; what it missed stays missed."""
    call("PATCH", f"/webhooks/{webhook}", json={"active": True})
    typer.echo(f"{webhook} is active")


@app.command()
def deactivate(webhook: WebhookId) -> None:
    """Deliver nothing to it until it is activated."""
    call("PATCH", f"/webhooks/{webhook}", json={"active": False})
    typer.echo(f"{webhook} is not active")


@app.command("test")
def send_test(webhook: WebhookId, as_json: AsJson = False) -> None:
    """Deliver an event `webhook.test`; `deliveries` tells how it went."""
    queued = call("POST", f"/webhooks/{webhook}/test")
    if as_json:
        print_json(queued)
        return
    typer.echo(f"{queued['id']} is on its way: issuetracker webhooks deliveries {webhook}")


@app.command()
def deliveries(
    webhook: WebhookId,
    limit: Annotated[int, typer.Option(min=1, help="How many to list, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List what was, is and will be delivered; replay a dead one with `dead-letters replay ID`."""
    found = fetch(f"/webhooks/{webhook}/deliveries", limit)
    if as_json:
        print_json(found)
        return
    print_table(
        ("ID", "EVENT", "STATE", "ATTEMPTS", "STATUS", "CREATED", "ERROR"),
        [
            (
                *(each["id"], each["event"], each["state"], str(each["attempts"])),
                *(str(each["status_code"] or "-"), format_time(each["created_at"]), each["error"] or "-"),
            )
            for each in found
        ],
    )


@app.command("rotate-secret")
def rotate_secret(
    webhook: WebhookId,
    overlap_hours: Annotated[
        int, typer.Option(min=0, help="How long the secret before signs too; 0 where it has leaked.")
    ] = 24,
    as_json: AsJson = False,
) -> None:
    """Give a webhook another secret and print it, this once."""
    made = call("POST", f"/webhooks/{webhook}/secret", json={"overlap_hours": overlap_hours})
    _print_secret(made, as_json)


def _print_secret(made: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    typer.echo(f"Deliveries of {made['id']} to {made['url']} are signed with this, shown once:", err=True)
    typer.echo(made["secret"])


def _state(hook: dict[str, Any]) -> str:
    if not hook["active"]:
        return "inactive"
    return "paused" if hook["paused_until"] else "active"
