"""`issuetracker queues`."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any

import typer

from issuetracker_cli.client import BAD_INPUT, call, fail
from issuetracker_cli.output import AsJson, make_table, print_json, print_line, print_table, strip_control
from issuetracker_cli.pauses import describe

WATCH_S = 2
COLUMNS = ("QUEUE", "MESSAGES", "WAITING", "RUNNING", "RETRYING", "DEAD", "OLDEST", "WORKERS")


def queues(
    watch: Annotated[bool, typer.Option(help="Refresh every two seconds until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the waiting, running and failed jobs of each queue, and its workers."""
    if watch:
        _watch(as_json)
        return
    state = call("GET", "/queues")
    if as_json:
        print_json(state)
        return
    print_table(COLUMNS, _rows(state))
    for note in _notes(state):
        print_line(note)


def _watch(as_json: bool) -> None:
    from rich.console import Console, Group  # noqa: PLC0415 - as httpx in client.py
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(markup=False, highlight=False)
    if as_json or not console.is_terminal:
        fail(
            "--watch requires a terminal and cannot be combined with --json. Run the command repeatedly instead.",
            BAD_INPUT,
        )
    with Live(console=console, auto_refresh=False) as live:
        while True:
            state = call("GET", "/queues")
            notes = (Text(strip_control(note)) for note in _notes(state))
            live.update(Group(make_table(COLUMNS, _rows(state)), *notes), refresh=True)
            time.sleep(WATCH_S)


def _format_count(number: int | None, state: dict[str, Any]) -> str:
    """Format a count of the API, which stops counting at `counted_max`."""
    if number is None:
        return "?"
    return f"{state['counted_max']}+" if number >= state["counted_max"] else str(number)


def _rows(state: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    counted = partial(_format_count, state=state)
    for queue in state["queues"]:
        retrying = counted(queue["retrying"])
        if queue["next_retry_s"] is not None:
            retrying += f" (in {max(0, queue['next_retry_s']):.0f}s)"
        oldest = "-" if queue["oldest_due_s"] is None else f"{queue['oldest_due_s']:.0f}s"
        numbers = (counted(queue[name]) for name in ("messages", "waiting", "running"))
        workers = "?" if queue["consumers"] is None else str(queue["consumers"])
        yield queue["name"], *numbers, retrying, counted(queue["dead"]), oldest, workers


def _notes(state: dict[str, Any]) -> Iterator[str]:
    if state["broker"] != "ok":
        yield "Redis is unreachable. Issues are accepted, but enrichment waits."
    unconsumed = [queue["name"] for queue in state["queues"] if queue["consumers"] == 0]
    if len(unconsumed) == len(state["queues"]):
        yield "No worker is running. Issues are accepted, but enrichment waits."
    elif unconsumed:
        yield f"No worker consumes {', '.join(unconsumed)}. Its jobs wait."
    for name, counts, formatted in (
        ("class", state["classes"], partial(_format_count, state=state)),
        ("project", state["projects"], str),
    ):
        waiting = ", ".join(f"{each['name']} {formatted(each['waiting'])}" for each in counts if each["waiting"])
        if waiting:
            yield f"Waiting by {name}: {waiting}"
    for circuit in state["circuits"]:
        yield f"{circuit['task']} waits for its provider {circuit['provider']}: {circuit['error']}"
    # An older API does not report them.
    yield from map(describe, state.get("pauses", []))
    if state["dead_messages"]:
        yield f"{state['dead_messages']} dead messages. Run: issuetracker dead-letters list"
