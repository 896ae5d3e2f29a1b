"""`issuetracker webhooks create|list|delete|activate|deactivate|test|deliveries|rotate-secret|encrypt-secrets`."""

from typing import Annotated, Any

import typer

from contracts.states import WebhookEvent
from issuetracker_cli.client import FAILED, call
from issuetracker_cli.output import AsJson, format_time, print_json, print_table
from issuetracker_cli.pages import fetch

ALL = 1_000_000

app = typer.Typer(help="Deliver events to other systems. Requires the admin scope.", no_args_is_help=True)

WebhookId = Annotated[str, typer.Argument(metavar="ID", help="Id of the webhook.")]


@app.command()
def create(
    url: Annotated[str, typer.Argument(help="URL that receives the events.")],
    event: Annotated[list[WebhookEvent], typer.Option(help="Event to deliver. Repeat it for several.")],
    as_json: AsJson = False,
) -> None:
    """Create a webhook and print its secret to standard output. It is shown only once."""
    webhook = call("POST", "/webhooks", json={"url": url, "events": [each.value for each in event]})
    _print_secret(webhook, as_json)


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
    """Delete a webhook. Its waiting deliveries end as skipped."""
    call("DELETE", f"/webhooks/{webhook}")
    typer.echo(f"{webhook} is deleted")


@app.command()
def activate(webhook: WebhookId) -> None:
    """Activate a webhook, also one that a receiver's 410 has deactivated. Missed events are not resent."""
    call("PATCH", f"/webhooks/{webhook}", json={"active": True})
    typer.echo(f"{webhook} is active")


@app.command()
def deactivate(webhook: WebhookId) -> None:
    """Stop deliveries to a webhook until it is activated."""
    call("PATCH", f"/webhooks/{webhook}", json={"active": False})
    typer.echo(f"{webhook} is inactive")


@app.command("test")
def send_test(webhook: WebhookId, as_json: AsJson = False) -> None:
    """Deliver a `webhook.test` event. `deliveries` lists the outcome."""
    queued = call("POST", f"/webhooks/{webhook}/test")
    if as_json:
        print_json(queued)
        return
    typer.echo(f"{queued['id']} is queued. Run: issuetracker webhooks deliveries {webhook}")


@app.command()
def deliveries(
    webhook: WebhookId,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of deliveries.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List past and scheduled deliveries, newest first. Replay a dead one with `dead-letters replay ID`."""
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
        int, typer.Option(min=0, help="Hours that the previous secret also signs. Use 0 if it has leaked.")
    ] = 24,
    as_json: AsJson = False,
) -> None:
    """Replace a webhook's secret and print the new one. It is shown only once."""
    rotated = call("POST", f"/webhooks/{webhook}/secret", json={"overlap_hours": overlap_hours})
    _print_secret(rotated, as_json)


@app.command("encrypt-secrets")
def encrypt_secrets(as_json: AsJson = False) -> None:
    """Encrypt all secrets with the first key of SECRET_KEYS, after a change of this setting."""
    done = call("POST", "/webhooks/secrets/encrypt")
    if as_json:
        print_json(done)
    else:
        typer.echo(f"{done['encrypted']} webhooks encrypted, {len(done['unreadable'])} unreadable")
        for webhook in done["unreadable"]:
            typer.echo(f"{webhook}: no key decrypts its secret. Add its key to SECRET_KEYS, or rotate the secret.")
    if done["unreadable"]:
        raise typer.Exit(FAILED)


def _print_secret(webhook: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(webhook)
        return
    typer.echo(f"Secret of webhook {webhook['id']} for {webhook['url']}. It is shown only once:", err=True)
    typer.echo(webhook["secret"])


def _state(hook: dict[str, Any]) -> str:
    if not hook["active"]:
        return "inactive"
    return "paused" if hook["paused_until"] else "active"
