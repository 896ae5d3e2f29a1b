"""The page in a browser, with the running product, by keyboard and by mouse.

`PAGE_IMAGES=docs/images` stores screenshots.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ApiFactory, WorkerFactory
from tests.support.access import CLOSED, Tokens
from tests.support.database import Database
from tests.support.processes import Api, start_api
from tests.support.servers import Servers
from tests.support.waiting import wait_until

sync_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt-get install chromium)"),
    pytest.mark.xdist_group("page"),
]

expect = sync_api.expect
SHORT_MS = 60_000
"""The default of playwright is five seconds, which is too short on a busy machine."""
expect.set_options(timeout=SHORT_MS)
LONG_MS = 180_000
IMAGES = os.environ.get("PAGE_IMAGES")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """Yield a page. Fail the test if the browser reports an error, such as a blocked script."""
    context = browser.new_context(viewport={"width": 1200, "height": 760})
    opened = context.new_page()
    opened.set_default_timeout(SHORT_MS)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on(
        "console", lambda message: errors.append(message.text) if "Content Security" in message.text else None
    )
    yield opened
    context.close()
    assert errors == []


def visit(page: Any, api: Api, path: str = "/") -> None:
    page.goto(f"{str(api.client.base_url).rstrip('/')}{path}")
    expect(page.locator("#counts")).to_contain_text("Waiting")


def row(page: Any, title: str) -> Any:
    return page.locator("#list li", has_text=title)


def check_accessibility(page: Any, name: str) -> None:
    """Run axe on the light and the dark page. Store screenshots if PAGE_IMAGES is set."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = axe.Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        if IMAGES:
            page.screenshot(path=Path(IMAGES) / f"page-{name}-{scheme}.png")
    page.emulate_media(color_scheme="light")


def mark_dead(database: Database, issue_id: str, error: str = "ProviderError: status 503") -> None:
    """Set the enrichment job of an issue to dead, as after its last attempt."""
    database.query(
        "UPDATE job SET state = 'dead', attempts = 4, tries = 4, last_error = %s, finished_at = now(), "
        "lease_until = NULL WHERE issue_id = %s",
        error,
        issue_id,
    )


def test_new_issue_is_created_and_shown_as_enriched(
    page: Any, new_api: ApiFactory, new_worker: WorkerFactory
) -> None:
    new_worker({})
    visit(page, new_api({}))
    expect(page.locator("#list-state")).to_contain_text("No issues yet")
    page.get_by_role("button", name="New issue").click()
    page.get_by_label("Title").fill("Login button does nothing on Safari")
    page.get_by_label("Description").fill("<img src=x onerror=alert(1)> A click has no effect since the release.")
    check_accessibility(page, "new")
    page.get_by_role("button", name="Create").click()

    expect(page.locator("#issue .original")).to_contain_text("<img src=x onerror=alert(1)> A click has no effect")
    expect(row(page, "Login button").locator(".state")).to_have_text(
        re.compile("needs review|enriched"), timeout=LONG_MS
    )
    expect(page.locator("#issue .summary")).to_contain_text("AI Summary: ")
    expect(page.locator("#issue")).to_contain_text("local")
    expect(page.locator("#counts")).to_contain_text(re.compile(r"p95[\d.]+ s.*Providerlocal"))


def test_click_during_an_update_is_not_lost(page: Any, api: Api, database: Database) -> None:
    issue_id = api.post("First").json()["id"]
    # The event of its job would cause an earlier update.
    wait_until(lambda: database.states() == {"queued": 1}, "the job to be published")
    visit(page, api, f"/?issue={issue_id}")
    button = page.locator("#issue").get_by_role("button", name="Delete")
    button.hover()
    page.mouse.down()
    with page.expect_response(lambda response: response.url.endswith("/similar")):
        api.client.patch(f"/api/v1/issues/{issue_id}", json={"title": "Changed"})
    page.evaluate("new Promise(requestAnimationFrame)")
    page.mouse.up()

    expect(page.get_by_role("dialog")).to_contain_text("Delete this issue?")
    expect(page.locator("#issue h2")).to_have_text("Changed")


def test_suggestions_are_accepted_and_rejected_on_page(page: Any, api: Api, new_worker: WorkerFactory) -> None:
    new_worker({"AI": "suggest"})
    text = "TypeError: undefined is not a function when the button is clicked in the frontend."
    issue_id = api.post(
        "Crash: button throws an exception in the browser page, CSS broken", description=text
    ).json()["id"]
    visit(page, api, f"/?issue={issue_id}")
    suggested = page.locator(".suggestions .tag.suggested")
    expect(suggested.first).to_contain_text("%", timeout=LONG_MS)
    expect(row(page, "Crash").locator(".state")).to_have_text("needs review")
    api.post("An issue without suggestions")
    page.get_by_label("Review").select_option("needed")
    expect(page.locator("#list li")).to_have_count(1)
    check_accessibility(page, "issues")
    count = suggested.count()
    name = suggested.first.inner_text().split()[0]
    page.locator(".suggestions button", has_text="Accept").first.click()

    expect(row(page, "Crash").locator(".tag")).to_contain_text([name])
    expect(row(page, "Crash").locator(".human").first).to_be_visible()
    expect(suggested).to_have_count(count - 1)
    if count > 1:
        page.locator(".suggestions button", has_text="Reject").first.click()
        expect(suggested).to_have_count(count - 2)
    while suggested.count():
        remaining = suggested.count()
        page.locator(".suggestions button", has_text="Reject").first.click()
        expect(suggested).to_have_count(remaining - 1)
    expect(row(page, "Crash").locator(".state")).to_have_text("enriched")


def test_issue_with_short_text_shows_hint(page: Any, api: Api, new_worker: WorkerFactory) -> None:
    new_worker({})
    visit(page, api, f"/?issue={api.post('Hmm').json()['id']}")
    too_short = "None. The text is too short. Add a description."
    expect(page.locator("#issue")).to_contain_text(too_short, timeout=LONG_MS)
    expect(row(page, "Hmm").locator(".state")).to_have_text("enriched")


def test_search_and_filters_are_stored_in_url(page: Any, api: Api) -> None:
    api.post("Invoices are rounded", priority="high")
    api.post("The page is empty", priority="low")
    visit(page, api)
    expect(page.locator("#list li")).to_have_count(2)
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.type("invoices")
    expect(page.locator("#list li")).to_have_count(1)
    expect(page).to_have_url(re.compile("q=invoices"))
    page.reload()
    expect(page.locator("#list li")).to_have_text([re.compile("Invoices")])
    page.get_by_label("Search").fill("")
    page.get_by_label("Priority").first.select_option("low")
    expect(page.locator("#list li")).to_have_text([re.compile("The page is empty")])


def test_search_completes_filters_and_reports_common_words(page: Any, api: Api) -> None:
    api.post("Login fails in NullPointerException")
    api.post("Something else")
    page.goto(str(api.client.base_url))
    search = page.get_by_label("Search")
    completions = page.locator("#completions option")

    search.press_sequentially("is:open -t")
    expect(completions).to_have_count(1)
    assert completions.first.get_attribute("value") == "is:open -tag:"
    search.fill("login is:o")
    expect(completions).to_have_count(1)
    assert completions.first.get_attribute("value") == "login is:open"

    search.fill("NullPointer is:open")
    expect(page.locator("#list li")).to_have_count(1)
    expect(page.locator("#total")).to_have_text("1 issue")
    search.fill("who is it")
    expect(page.locator("#list-state")).to_contain_text("too common to be searched for")
    expect(page.locator("#total")).to_be_hidden()
    search.fill("created:tomorrow")
    expect(page.locator("#list-state")).to_contain_text('created: "tomorrow" is not valid')


def test_cleared_search_stays_empty_when_view_is_drawn_again(page: Any, api: Api) -> None:
    api.post("Invoices are rounded")
    visit(page, api, "/?q=nothing")
    search = page.get_by_label("Search")
    expect(search).to_have_value("nothing")

    search.fill("")
    page.evaluate("window.dispatchEvent(new PopStateEvent('popstate'))")

    expect(search).to_have_value("")
    expect(page.locator("#list li")).to_have_count(1)


def test_new_issues_are_counted_without_shifting_list(page: Any, api: Api) -> None:
    api.post("The first")
    visit(page, api)
    expect(page.locator("#list li")).to_have_count(1)
    for number in range(3):
        api.post(f"Later {number}")
    expect(page.locator("#fresh")).to_have_text("3 new")
    expect(page.locator("#list li")).to_have_count(1)
    page.locator("#fresh").click()
    expect(page.locator("#list li")).to_have_count(4)


def test_dead_letters_are_replayed_and_discarded_on_page(page: Any, api: Api, database: Database) -> None:
    first, second = (api.post(f"Issue {number}").json()["id"] for number in range(2))
    mark_dead(database, first)
    mark_dead(database, second, "ValueError: too long")
    visit(page, api)
    expect(row(page, "Issue 0").locator(".state")).to_have_text("dead")
    expect(page.locator("#counts .bad")).to_contain_text("2")
    page.get_by_role("link", name="Dead letters").click()
    expect(page.locator("#dead-groups")).to_contain_text("ProviderError")
    check_accessibility(page, "dead")
    page.get_by_role("button", name="Replay all with ProviderError").click()
    expect(page.get_by_role("dialog")).to_contain_text("Replay 1 job?")
    page.get_by_role("button", name="Replay 1", exact=True).click()
    expect(page.locator("#dead-list > li")).to_have_count(1)
    assert database.one("SELECT state FROM job WHERE issue_id = %s", first) in {"pending", "queued"}
    page.get_by_role("button", name="Discard").click()
    page.get_by_label("Reason").fill("A test")
    page.get_by_role("dialog").get_by_role("button", name="Discard").click()
    expect(page.locator("#dead-state")).to_contain_text("No dead letters")


def test_interrupted_stream_is_shown_and_resumed_without_gap(
    page: Any, servers: Servers, api: Api, database: Database
) -> None:
    cut = start_api({**servers.env, "DISPATCH_POLL_SECONDS": "3600"})
    first = cut.post("Before the cut").json()["id"]
    visit(page, cut)
    expect(page.locator("#list li")).to_have_count(1)
    page.evaluate("window.same = true")
    cut.process.stop(20)
    expect(page.locator("#stream")).to_contain_text("interrupted")
    mark_dead(database, first)
    api.post("While it was away")
    port = cut.client.base_url.port
    restarted = start_api({**servers.env, "DISPATCH_POLL_SECONDS": "3600"}, port=port)
    try:
        expect(page.locator("#stream")).to_be_hidden()
        expect(row(page, "Before the cut").locator(".state")).to_have_text("dead")
        expect(page.locator("#fresh")).to_have_text("1 new")
        assert page.evaluate("window.same"), "the page must not reload"
    finally:
        restarted.process.stop(20)


def test_page_is_usable_by_keyboard(page: Any, api: Api) -> None:
    for number in range(3):
        api.post(f"Issue {number}")
    visit(page, api)
    expect(page.locator("#list li")).to_have_count(3)
    page.keyboard.press("j")
    expect(page.locator("#issue h2")).to_have_text("Issue 2")
    page.keyboard.press("j")
    expect(page.locator("#issue h2")).to_have_text("Issue 1")
    page.keyboard.press("k")
    expect(page.locator("#issue h2")).to_have_text("Issue 2")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("next issue")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("c")
    expect(page.get_by_label("Title")).to_be_focused()
    page.keyboard.type("Written without a mouse")
    page.keyboard.press("Enter")
    expect(page.locator("#issue h2")).to_have_text("Written without a mouse")


def test_page_of_closed_api_requires_token(page: Any, new_api: ApiFactory, database: Database) -> None:
    del database
    api = new_api(CLOSED)
    token = Tokens(api).make("triage", "issues:read", "issues:write")["token"]
    page.goto(str(api.client.base_url))
    page.get_by_label("Token").fill("itk_wrong")
    check_accessibility(page, "login")
    page.get_by_role("dialog").get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("is not valid")
    page.get_by_label("Token").fill(token)
    page.get_by_role("dialog").get_by_role("button", name="Log in").click()
    expect(page.locator("#counts")).to_contain_text("Waiting")
    page.get_by_role("link", name="Queues").click()
    expect(page.get_by_role("heading", name="Pauses")).to_be_visible()
    expect(page.locator("#pause")).to_be_hidden()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Token")).to_be_visible()


def test_page_of_closed_api_after_lost_request_requires_token(
    page: Any, new_api: ApiFactory, database: Database
) -> None:
    """A lost request, as after a network change. An expired session has the same effect."""
    del database
    api = new_api(CLOSED)
    token = Tokens(api).make("triage", "issues:read", "issues:write")["token"]
    page.route("**/api/v1/issues?*", lambda route: route.abort("internetdisconnected"), times=1)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url.partition("?")[0].rpartition("/")[2]))

    page.goto(str(api.client.base_url))
    expect(page.get_by_label("Token")).to_be_visible()
    for _ in range(2):
        page.wait_for_event(
            "request", lambda request: request.url.endswith("/events")
        )  # rejected and requested again
    requests.clear()
    page.get_by_label("Token").fill(token)
    page.get_by_role("dialog").get_by_role("button", name="Log in").click()

    expect(page.locator("#counts")).to_contain_text("Waiting")
    assert requests.count("issues") <= 2, (
        "the page must load the issues at most once after login and once after the stream starts"
    )


def test_running_and_retrying_jobs_show_seconds(page: Any, api: Api, database: Database) -> None:
    running, retrying = (api.post(title).json()["id"] for title in ("It runs", "It failed"))
    wait_until(lambda: database.states() == {"queued": 2}, "both jobs to be published")
    database.query(
        "UPDATE job SET state = 'running', started_at = now(), attempts = 1 WHERE issue_id = %s",
        running,
    )
    database.query(
        "UPDATE job SET state = 'retrying', attempts = 2, run_at = now() + interval '1 h', lease_until = NULL "
        "WHERE issue_id = %s",
        retrying,
    )
    visit(page, api, f"/?issue={running}")
    expect(row(page, "It runs").locator(".state")).to_have_text(re.compile(r"running ([2-9]|\d\d+) s"))
    expect(page.locator("#issue .state.running").first).to_have_text(re.compile(r"running ([2-9]|\d\d+) s"))
    expect(row(page, "It failed").locator(".state")).to_have_text(re.compile(r"retrying 2/3 in 3\d\d\d s"))
    expect(page.locator("#counts")).to_contain_text(re.compile(r"Running1.*Retrying1 \(next in 3\d\d\d s\)"))


def test_queues_show_workers_and_outages(
    page: Any, api: Api, servers: Servers, database: Database, new_worker: WorkerFactory
) -> None:
    issue_id = api.post("It is dead").json()["id"]
    wait_until(lambda: database.states() == {"queued": 1}, "the job to be published")
    mark_dead(database, issue_id)
    visit(page, api)
    page.get_by_role("link", name="Queues").click()
    issues = page.locator("#queues-rows tr", has_text="issues")
    expect(page.locator("#queues-troubles")).to_have_text(
        "No worker is running. Issues are accepted, but enrichment waits."
    )
    expect(issues.locator("td")).to_contain_text(["0", "0", "0", "1", "none", "1", "none"])
    new_worker({})
    expect(page.locator("#queues-troubles")).to_be_empty(timeout=LONG_MS)
    expect(issues).to_contain_text("1 worker, 0 of 2 processes busy")
    database.query(
        "INSERT INTO job (id, task, queue, message, run_at) SELECT gen_random_uuid(), 'any', 'issues', '{}', "
        "now() + number * interval '1 h' FROM generate_series(1, 40) number"
    )
    line = issues.get_by_role("img").first
    expect(line).to_have_attribute("aria-label", re.compile(r"Waiting in the last \d.*: between 0 and 40"))
    database.query("DELETE FROM job WHERE run_at > now() + interval '15.5 h'")
    expect(issues.locator("td").first).to_have_text("15")
    database.pause("queue", "default")
    expect(page.locator("#health")).to_have_text("Queue default is paused by alice.")
    check_accessibility(page, "queues")
    database.query("DELETE FROM pause")
    servers.valkey.stop()
    try:
        unreachable = "Redis is unreachable. Issues are accepted, but enrichment waits."
        expect(page.locator("#queues-troubles")).to_have_text(unreachable)
        expect(issues.locator("td").last).to_have_text("unknown")
        assert api.post("It waits").status_code == 201
        expect(page.locator("#counts")).to_contain_text("Waiting16")
    finally:
        servers.valkey.start()
    expect(page.locator("#health")).to_be_hidden(timeout=LONG_MS)


def test_admin_pauses_and_resumes_project_on_page(page: Any, api: Api, database: Database) -> None:
    visit(page, api, "/?view=queues")
    page.get_by_role("button", name="Pause...").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Kind").select_option("project")
    dialog.get_by_label("Name").fill("a b")
    dialog.get_by_label("Reason").fill("A wrong import")
    dialog.get_by_role("button", name="Pause").click()
    expect(dialog.get_by_role("alert")).to_contain_text('name: "a b" is not valid.')
    check_accessibility(page, "pause")
    dialog.get_by_label("Name").fill("acme/shop")
    dialog.get_by_role("button", name="Pause").click()

    pauses = page.locator("#pauses li")
    expect(pauses).to_contain_text("Project acme/shop is paused by anonymous: A wrong import")
    assert database.query("SELECT kind, name FROM pause") == [{"kind": "project", "name": "acme/shop"}]
    page.get_by_role("button", name="Resume project acme/shop").click()
    expect(pauses).to_have_count(0)
    assert database.one("SELECT count(*) FROM pause") == 0


def test_redis_outage_is_shown_on_page(page: Any, new_api: ApiFactory) -> None:
    api = new_api({"CELERY_BROKER_URL": "redis://127.0.0.1:9/0"})
    api.post("It waits")
    visit(page, api)
    expect(page.locator("#health")).to_have_text(
        "Redis is unreachable. Issues are accepted, but enrichment waits."
    )


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_documentation_of_api_is_rendered_from_own_files(path: str, browser: Any, api: Api) -> None:
    page = browser.new_page()
    page.set_default_timeout(LONG_MS)
    origin = str(api.client.base_url).rstrip("/")
    received: list[str] = []
    page.on("response", lambda response: received.append(response.url))
    page.goto(f"{origin}{path}")

    expect(page.locator("h1, h2").first).to_contain_text("IssueTracker", timeout=LONG_MS)
    expect(page.locator("body")).to_contain_text("Create an issue", timeout=LONG_MS)
    assert all(url.startswith((origin, "data:", "blob:")) for url in received)
    for injected in (
        "document.body.innerHTML = '<img src=x onerror=alert(1)>'",
        "document.head.appendChild(Object.assign(document.createElement('script'), {src: '//evil.example/x.js'}))",
        "setTimeout('alert(1)')",
    ):
        with pytest.raises(sync_api.Error, match="Trusted"):
            page.evaluate(injected)
    page.close()


@pytest.mark.parametrize("issue", ["../dead-letters", "..%2Fqueues", "%252e%252e/tags", "x"])
def test_url_with_path_as_issue_requests_no_other_path(issue: str, page: Any, api: Api) -> None:
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url.partition("/api/v1")[2]))
    visit(page, api, f"/?issue={issue}")
    expect(page.locator("#list-state")).to_contain_text("No issues yet")

    known = ("/issues?", "/queues", "/session", "/events", "/tags")
    assert [path for path in requested if path and not path.startswith(known)] == []
    assert not any(path.startswith("/issues/") for path in requested)
