"""Two browsers and a command line watch issues being enriched: who has seen what, and how long after it was so.

    python -m benchmarks.watchers --issues 500

Both pages show the whole list before the worker starts, and are not loaded again; `curl` reads the event stream.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.stage import stage
from devstack.network import wait_until
from tests.support.database import Database
from tests.support.processes import Api, start_api, start_worker

if TYPE_CHECKING:
    from collections.abc import Callable

SETTLED = "needs review", "enriched"
STATES = """() => Object.fromEntries([...document.querySelectorAll("#list a")].map(
    (link) => [link.dataset.id, link.querySelector(".state").textContent]))"""


def open_page(browser: Browser, api: Api, issues: int) -> Page:
    """Return a page that shows all the issues; one that was loaded again would have lost its mark."""
    page: Page = browser.new_context().new_page()
    page.goto(str(api.client.base_url))
    while page.locator("#list li").count() < issues:
        page.evaluate("document.querySelector('#list li:last-child')?.scrollIntoView()")
        page.wait_for_timeout(100)
    page.evaluate("window.same = true")
    return page


def settled(page: Page) -> set[str]:
    """Return the issues that the page shows as enriched."""
    states: dict[str, str] = page.evaluate(STATES)
    assert page.evaluate("window.same"), "it was loaded again"
    return {issue for issue, state in states.items() if state in SETTLED}


def heard(log: Path) -> dict[str, set[Any]]:
    """Return of which issues curl has heard, by kind of event, and the states of their enrichments."""
    found: dict[str, set[Any]] = {"issue.created": set(), "succeeded": set()}
    for block in log.read_text().split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in block.splitlines())
        data = json.loads(fields.get("data", "{}"))
        is_enrichment = data.get("task", "").endswith("enrich_issue")
        kind = data.get("state") if is_enrichment else fields.get("event")
        if kind in found:
            found[kind].add(data["issue_id"])
    return found


def watch(database: Database, pages: list[Page], log: Path, posted: set[str]) -> None:
    """Wait until all three have seen all, and print when each had."""
    started = time.monotonic()
    watchers: dict[str, Callable[[], set[Any]]] = {
        "browser 1": lambda: settled(pages[0]),
        "browser 2": lambda: settled(pages[1]),
        "curl": lambda: heard(log)["succeeded"],
    }
    done_at: dict[str, float] = {}
    while len(done_at) < len(watchers) + 1:
        now = time.monotonic() - started
        if "ledger" not in done_at and database.states() == {"succeeded": len(posted)}:
            done_at["ledger"] = now
        for name, seen in watchers.items():
            if name not in done_at and seen() == posted:
                done_at[name] = now
        if now > 600:
            raise TimeoutError(f"after 600 s only {sorted(done_at)} had seen all of {len(posted)}")
        pages[0].wait_for_timeout(100)
    for name, seconds in done_at.items():
        print(f"{name}: all {len(posted)} succeeded after {seconds:.1f} s", flush=True)
    assert heard(log)["issue.created"] == posted, "curl has heard of every creation"
    for page in pages:
        counts = page.locator("#counts").inner_text().split()
        print(f"header: {' '.join(counts)}")


def main() -> int:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--issues", type=int, default=500)
    count = parser.parse_args().issues
    with ExitStack() as stack:
        servers, database = stack.enter_context(stage())
        api = start_api(servers.env)
        stack.callback(api.process.stop, 60)
        log = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "events"
        curl = subprocess.Popen(
            ["curl", "--silent", "--no-buffer", "--output", log, str(api.client.base_url.join("/api/v1/events"))]
        )
        stack.callback(curl.kill)
        wait_until(lambda: log.exists() and "event: sync" in log.read_text(), 60, "curl to listen")
        posted = {
            api.post(
                f"Crash number {number}: the login page throws an exception",
                description="TypeError: undefined is not a function when the button is clicked in the browser.",
            ).json()["id"]
            for number in range(count)
        }
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        stack.callback(browser.close)
        pages = [open_page(browser, api, count) for _ in range(2)]
        worker = start_worker({**servers.env, "AI": "suggest"})
        stack.callback(worker.process.stop, 60)
        watch(database, pages, log, posted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
