"""`issuetracker queues`."""

import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from issuetracker_cli.client import BAD_INPUT, call, fail
from issuetracker_cli.output import AsJson, make_table, print_json, print_table

WATCH_S = 2
COLUMNS = ("QUEUE", "MESSAGES", "WAITING", "RUNNING", "RETRYING", "DEAD", "OLDEST", "WORKERS")


def queues(
    watch: Annotated[bool, typer.Option(help="Show it until Ctrl-C, anew every two seconds.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print what waits, runs and has failed in each queue, and who consumes it."""
    if watch:
        _watch(as_json)
        return
    seen = call("GET", "/queues")
    if as_json:
        print_json(seen)
        return
    print_table(COLUMNS, _rows(seen))
    for note in _notes(seen):
        typer.echo(note)


def _watch(as_json: bool) -> None:
    console = Console(markup=False, highlight=False)
    if as_json or not console.is_terminal:
        fail("--watch is for a terminal, without --json: ask again every few seconds instead", BAD_INPUT)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            seen = call("GET", "/queues")
            live.update(Group(make_table(COLUMNS, _rows(seen)), *map(Text, _notes(seen))), refresh=True)
            time.sleep(WATCH_S)


def _rows(seen: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    def counted(number: int | None) -> str:
        if number is None:
            return "?"
        return f"{seen['counted_max']}+" if number >= seen["counted_max"] else str(number)

    for queue in seen["queues"]:
        retrying = counted(queue["retrying"])
        if queue["next_retry_s"] is not None:
            retrying += f" (in {max(0, queue['next_retry_s']):.0f}s)"
        oldest = "-" if queue["oldest_due_s"] is None else f"{queue['oldest_due_s']:.0f}s"
        numbers = (counted(queue[name]) for name in ("messages", "waiting", "running"))
        workers = "?" if queue["consumers"] is None else str(queue["consumers"])
        yield queue["name"], *numbers, retrying, counted(queue["dead"]), oldest, workers


def _notes(seen: dict[str, Any]) -> Iterator[str]:
    if seen["broker"] != "ok":
        yield "Redis is unreachable: issues are accepted; enrichment waits."
    lonely = [queue["name"] for queue in seen["queues"] if queue["consumers"] == 0]
    if len(lonely) == len(seen["queues"]):
        yield "No worker runs: issues are accepted; enrichment waits."
    elif lonely:
        yield f"No worker consumes {', '.join(lonely)}: its jobs wait."
    for circuit in seen["circuits"]:
        yield f"{circuit['task']} waits for its provider {circuit['provider']}: {circuit['error']}"
    if seen["dead_messages"]:
        yield f"{seen['dead_messages']} messages that are no job: issuetracker dead-letters list"
