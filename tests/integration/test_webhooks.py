"""Another system learns of issues: what it receives, and what happens when it does not."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import redis
from standardwebhooks import WebhookVerificationError

from contracts.messages import DeliverWebhook
from contracts.names import Task
from contracts.states import WebhookEvent
from devstack.network import wait_until
from tests.conftest import STOP_TIMEOUT_S
from tests.support.database import Database
from tests.support.processes import Api, Running, start_api, start_worker, tool
from tests.support.receiver import HOST, Receiver
from tests.support.servers import Servers

SETTINGS = {
    "RETRY_DELAYS": "0.1,0.1,0.1",
    "DISPATCH_POLL_SECONDS": "0.1",
    "LEASE_SECONDS": "4",
    "CIRCUIT_THRESHOLD": "3",
    "CIRCUIT_PAUSE_SECONDS": "0.5",
    "WEBHOOK_ALLOW": HOST,
}
HOOKS = "/api/v1/webhooks"


@dataclass
class Stack:
    """An API and a worker of this module's own."""

    servers: Servers
    api: Api
    worker: Running

    def restart_worker(self) -> None:
        self.worker = start_worker({**self.servers.env, **SETTINGS}, "webhooks")

    def make(self, receiver: Receiver | str, *events: str) -> dict[str, Any]:
        url = receiver if isinstance(receiver, str) else receiver.url
        answer = self.api.client.post(HOOKS, json={"url": url, "events": events or list(WebhookEvent)})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def test(self, hook: dict[str, Any]) -> str:
        answer = self.api.client.post(f"{HOOKS}/{hook['id']}/test")
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def deliveries(self, hook: dict[str, Any]) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.api.client.get(f"{HOOKS}/{hook['id']}/deliveries").json()["items"]
        return items

    def wait_for(self, hook: dict[str, Any], *states: str) -> list[dict[str, Any]]:
        def reached() -> bool:
            return sorted(each["state"] for each in self.deliveries(hook)) == sorted(states)

        try:
            wait_until(reached, 30, str(states))
        except TimeoutError:
            raise AssertionError(f"{self.deliveries(hook)}\n{self.worker.log}") from None
        return self.deliveries(hook)


@pytest.fixture(scope="module")
def module_stack(servers: Servers) -> Iterator[Stack]:
    stack = Stack(
        servers,
        start_api({**servers.env, **SETTINGS}),
        start_worker({**servers.env, **SETTINGS}, "webhooks"),
    )
    yield stack
    stack.api.client.close()
    stack.api.process.stop(STOP_TIMEOUT_S)
    stack.worker.process.stop(STOP_TIMEOUT_S)


@pytest.fixture
def stack(module_stack: Stack, database: Database, broker: redis.Redis) -> Stack:
    del database, broker
    return module_stack


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def test_another_system_learns_what_happens_to_an_issue(
    stack: Stack, receiver: Receiver, database: Database
) -> None:
    hook = stack.make(receiver)
    issue = stack.api.post("Login button does nothing", description="A click on it has no effect.").json()
    url = f"/api/v1/issues/{issue['id']}"
    wait_until(lambda: set(receiver.events()) == {"issue.created", "issue.enriched"}, 30, "the enriched issue")
    enriched = next(each for each in receiver.received if each.event["type"] == "issue.enriched")
    as_answered = stack.api.client.get(url).json()
    tags = ["bug", "frontend"]
    assert stack.api.client.put(f"{url}/tags", json={"tags": tags}).is_success
    # Of an issue that is deleted, nothing else is told any more.
    wait_until(lambda: "issue.updated" in receiver.events(), 30, "the updated issue")
    assert stack.api.client.delete(url).status_code == 204
    stack.wait_for(hook, *["succeeded"] * 4)

    told = enriched.verified(hook["secret"])

    assert told["type"] == "issue.enriched"
    assert told["data"]["ai_summary"].startswith("AI Summary")
    assert {name: as_answered[name] for name in told["data"]}.keys() == told["data"].keys()
    same = told["data"].keys() - {"created_at", "updated_at"}
    assert {name: as_answered[name] for name in same} == {name: told["data"][name] for name in same}
    assert sorted(receiver.events()) == ["issue.created", "issue.deleted", "issue.enriched", "issue.updated"]
    deleted = next(each.event for each in receiver.received if each.event["type"] == "issue.deleted")
    assert deleted["data"].keys() == {"id", "project", "external", "deleted_at"}
    updated = next(each.event for each in receiver.received if each.event["type"] == "issue.updated")
    assert updated["data"]["tags"] == tags
    assert {each["status_code"] for each in stack.deliveries(hook)} == {204}
    for row in database.query("SELECT id, message FROM job WHERE task = %s", Task.DELIVER_WEBHOOK):
        message = DeliverWebhook.model_validate(row["message"])
        assert str(message.job_id) == row["id"]
        assert (message.request_id is None) == (row["id"] != enriched.id), (
            "what goes back to a job names its request"
        )


def test_only_what_it_asked_for_and_only_while_it_is_active(
    stack: Stack, receiver: Receiver, database: Database
) -> None:
    stack.make(receiver, "issue.deleted")
    silent = stack.make(receiver)
    assert stack.api.client.patch(f"{HOOKS}/{silent['id']}", json={"active": False}).json()["active"] is False
    stack.api.post()
    database.wait_for_states({"succeeded": 1})

    assert database.one("SELECT count(*) FROM webhook_delivery") == 0
    stack.test(silent)
    stack.wait_for(silent, "succeeded")
    assert receiver.events() == ["webhook.test"]


def test_a_retry_carries_the_same_id_and_a_new_signature(stack: Stack, receiver: Receiver) -> None:
    receiver.statuses = [500, 429]
    hook = stack.make(receiver)

    delivery_id = stack.test(hook)

    (delivery,) = stack.wait_for(hook, "succeeded")
    assert (delivery["attempts"], delivery["status_code"], delivery["error"]) == (3, 204, None)
    assert [each.id for each in receiver.received] == [delivery_id] * 3
    assert {each.verified(hook["secret"])["data"]["webhook_id"] for each in receiver.received} == {hook["id"]}


def test_retry_after_is_honoured(stack: Stack, receiver: Receiver, database: Database) -> None:
    receiver.statuses, receiver.headers = [503], {"retry-after": "600"}
    hook = stack.make(receiver)
    delivery_id = stack.test(hook)

    (delivery,) = stack.wait_for(hook, "retrying")

    assert delivery["error"] == "ProviderError: status 503"
    (failure,) = database.failures(delivery_id)
    assert (database.job(delivery_id)["run_at"] - failure["failed_at"]).total_seconds() == 600


def test_a_receiver_that_is_down_holds_up_nobody_else_and_loses_nothing(stack: Stack, receiver: Receiver) -> None:
    down = Receiver()
    down.close()
    hook, other = stack.make(down), stack.make(receiver)
    for _ in range(12):
        stack.test(hook)

    def pauses() -> bool:
        return stack.api.client.get(f"{HOOKS}/{hook['id']}").json()["paused_until"] is not None

    wait_until(pauses, 30, "the pause")
    stack.test(other)
    stack.wait_for(other, "succeeded")
    assert all(each["state"] != "dead" for each in stack.deliveries(hook)), "waiting costs no attempt"

    back = Receiver(port=down.port)
    try:
        stack.wait_for(hook, *["succeeded"] * 12)
        wait_until(lambda: not pauses(), 10, "the pause to end")
    finally:
        back.close()
    assert {each.id for each in back.received} == {each["id"] for each in stack.deliveries(hook)}


def test_what_the_receiver_refuses_is_dead_and_can_be_replayed(stack: Stack, receiver: Receiver) -> None:
    receiver.statuses, receiver.headers = [302], {"location": receiver.url}
    hook = stack.make(receiver)
    delivery_id = stack.test(hook)
    (delivery,) = stack.wait_for(hook, "dead")
    assert delivery["error"] == "PermanentError: status 302: redirects are not followed"
    assert (delivery["attempts"], delivery["status_code"], len(receiver.received)) == (1, 302, 1)

    assert stack.api.client.post(f"/api/v1/dead-letters/{delivery_id}/replay").status_code == 202

    stack.wait_for(hook, "succeeded")
    assert [each.id for each in receiver.received] == [delivery_id] * 2


def test_a_receiver_that_is_gone_is_told_nothing_more(
    stack: Stack, receiver: Receiver, database: Database
) -> None:
    receiver.statuses = [410]
    hook = stack.make(receiver)
    stack.test(hook)
    stack.wait_for(hook, "dead")

    known = stack.api.client.get(f"{HOOKS}/{hook['id']}").json()

    assert (known["active"], known["deactivated_reason"]) == (False, "the receiver answered 410 Gone")
    (entry,) = database.query("SELECT actor, subject FROM audit_log WHERE action = 'webhook.deactivated'")
    assert entry["actor"].startswith("webhooks@")
    assert entry["subject"] == hook["id"]
    active = stack.api.client.patch(f"{HOOKS}/{hook['id']}", json={"active": True}).json()
    assert (active["active"], active["deactivated_reason"]) == (True, None)


@pytest.mark.parametrize("host", ["localhost", "169.254.169.254"])
def test_no_private_address_is_asked(stack: Stack, host: str, database: Database) -> None:
    """Also where no check of the API's was in the way, as when the name leads elsewhere today."""
    internal = Receiver("127.0.0.1")
    hook = stack.make("https://hooks.example.com/")
    database.query("UPDATE webhook SET url = %s", f"http://{host}:{internal.port}/")
    stack.test(hook)

    (delivery,) = stack.wait_for(hook, "dead")

    internal.close()
    assert "private address" in delivery["error"]
    assert "WEBHOOK_ALLOW" in delivery["error"]
    assert (internal.received, delivery["attempts"]) == ([], 1)


def test_a_worker_killed_while_it_delivers(stack: Stack, receiver: Receiver) -> None:
    asked, answer = threading.Event(), threading.Event()

    def hold() -> None:
        asked.set()
        answer.wait(30)

    receiver.before_answer = hold
    hook = stack.make(receiver)
    delivery_id = stack.test(hook)
    assert asked.wait(30)

    stack.worker.process.send_group(signal.SIGKILL)
    stack.worker.process.wait(30)
    answer.set()
    stack.restart_worker()

    (delivery,) = stack.wait_for(hook, "succeeded")
    assert delivery["attempts"] >= 2
    assert {each.id for each in receiver.received} == {delivery_id}


def test_what_waits_for_a_deleted_webhook_ends_skipped(
    stack: Stack, receiver: Receiver, database: Database
) -> None:
    receiver.statuses, receiver.headers = [503], {"retry-after": "600"}
    hook = stack.make(receiver)
    waiting = stack.test(hook)
    stack.wait_for(hook, "retrying")

    assert stack.api.client.delete(f"{HOOKS}/{hook['id']}").status_code == 204

    assert stack.api.client.get(f"{HOOKS}/{hook['id']}").status_code == 404
    wait_until(lambda: database.job(waiting)["state"] == "skipped", 30, "the waiting delivery to end")
    assert database.job(waiting)["note"] == "the webhook was deleted"
    assert database.one("SELECT (SELECT count(*) FROM webhook_delivery) + (SELECT count(*) FROM circuit)") == 0
    # One that another transaction has made meanwhile: the worker finds no webhook.
    late = database.add_job(Task.DELIVER_WEBHOOK, "default", webhook_id=hook["id"])
    wait_until(lambda: database.job(late)["state"] == "skipped", 30, "the late delivery")


def test_a_rotated_secret_overlaps_with_the_one_before(
    stack: Stack, receiver: Receiver, database: Database
) -> None:
    hook = stack.make(receiver)
    url = f"{HOOKS}/{hook['id']}"
    rotated = stack.api.client.post(f"{url}/secret", json={"overlap_hours": 1})
    assert rotated.headers["cache-control"] == "no-store"
    secret = rotated.json()["secret"]
    stack.test(hook)
    stack.wait_for(hook, "succeeded")
    assert receiver.received[0].headers["webhook-signature"].count("v1,") == 2
    for known in (hook["secret"], secret):
        receiver.received[0].verified(known)

    newest = stack.api.client.post(f"{url}/secret", json={"overlap_hours": 0}).json()["secret"]
    stack.test(hook)
    stack.wait_for(hook, "succeeded", "succeeded")

    receiver.received[1].verified(newest)
    for leaked in (hook["secret"], secret):
        with pytest.raises(WebhookVerificationError):
            receiver.received[1].verified(leaked)
    told = [stack.api.client.get(path).text for path in (url, HOOKS, "/api/v1/audit")]
    logged = f"{stack.api.log}{stack.worker.log}"
    assert not any(known in text for known in (hook["secret"], secret, newest) for text in (*told, logged))
    assert database.one("SELECT count(*) FROM audit_log WHERE action = 'webhook.secret_rotated'") == 2


def test_a_dead_enrichment_is_told(stack: Stack, receiver: Receiver, database: Database) -> None:
    hook = stack.make(receiver, "issue.enrichment_dead")
    issue_id = stack.api.post().json()["id"]
    database.wait_for_states({"succeeded": 1})
    database.query("UPDATE job SET state = 'dead' WHERE task = %s", Task.ENRICH_ISSUE)

    stack.wait_for(hook, "succeeded")
    assert receiver.received[0].event["data"]["id"] == issue_id


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"url": "ftp://hooks.example.com/"}, "#/url"),
        ({"url": "https://me:secret@hooks.example.com/"}, "#/url"),
        ({"url": "https://hooks.example.com/#part"}, "#/url"),
        ({"url": "http://127.0.0.1/"}, "#/url"),
        ({"url": "http://[::ffff:10.0.0.1]/"}, "#/url"),
        ({"events": []}, "#/events"),
        ({"events": ["issue.read"]}, "#/events/0"),
        ({"retries": 9}, "#/retries"),
        ({"active": 0}, "#/active"),
    ],
)
def test_bad_webhooks_are_refused_by_name(stack: Stack, fields: dict[str, Any], pointer: str) -> None:
    good = {"url": "https://hooks.example.com/", "events": ["issue.created"]}
    refused = [stack.api.client.post(HOOKS, json=good | fields)]
    hook = stack.make("https://hooks.example.com/")
    refused.append(stack.api.client.patch(f"{HOOKS}/{hook['id']}", json=fields))

    assert [answer.status_code for answer in refused] == [422, 422]
    assert [answer.json()["errors"][0]["pointer"] for answer in refused] == [pointer, pointer]


def test_pages_and_changes(stack: Stack, receiver: Receiver, database: Database) -> None:
    first, second = stack.make(receiver, "issue.created"), stack.make(receiver)
    page: httpx.Response = stack.api.client.get(HOOKS, params={"limit": 1})
    assert [hook["id"] for hook in page.json()["items"]] == [second["id"]]
    following = stack.api.client.get(page.links["next"]["url"]).json()
    assert ([hook["id"] for hook in following["items"]], following["next_cursor"]) == ([first["id"]], None)

    for _ in range(2):
        changed = stack.api.client.patch(f"{HOOKS}/{first['id']}", json={"events": ["issue.deleted"]}).json()

    assert changed["events"] == ["issue.deleted"]
    actions = database.query("SELECT action FROM audit_log ORDER BY id")
    assert [row["action"] for row in actions] == ["webhook.created", "webhook.created", "webhook.changed"]
    nothing = "0197b4f4-8c5e-7a31-9d2b-3f6a1c0e5d77"
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test"), ("GET", "/deliveries")):
        body = {"active": False} if method == "PATCH" else None
        answer = stack.api.client.request(method, f"{HOOKS}/{nothing}{path}", json=body)
        assert answer.status_code == 404


def test_the_command_line(stack: Stack, receiver: Receiver) -> None:
    def cli(*words: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "ISSUETRACKER_URL": str(stack.api.client.base_url)}
        command = [tool("issuetracker"), "webhooks", *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    made = cli("create", receiver.url, "--event", "issue.enriched", "--event", "issue.deleted")
    secret = made.stdout.strip()
    assert secret.startswith("whsec_")
    (hook,) = json.loads(cli("list", "--json").stdout)
    assert hook["events"] == ["issue.deleted", "issue.enriched"]
    assert cli("list").stdout.split()[4:6] == [hook["id"], "active"]

    queued = json.loads(cli("test", hook["id"], "--json").stdout)
    stack.wait_for(hook, "succeeded")
    assert cli("deliveries", hook["id"]).stdout.splitlines()[1].split()[:5] == [
        *(queued["id"], "webhook.test", "succeeded", "1", "204")
    ]
    assert receiver.received[0].verified(secret)["type"] == "webhook.test"
    rotated = cli("rotate-secret", hook["id"], "--overlap-hours", "0").stdout.strip()
    assert rotated.startswith("whsec_")
    assert rotated != secret

    assert cli("deactivate", hook["id"]).stdout == f"{hook['id']} is not active\n"
    assert "inactive" in cli("list").stdout
    assert cli("activate", hook["id"]).stdout == f"{hook['id']} is active\n"

    assert cli("delete", hook["id"]).stdout == f"{hook['id']} is deleted\n"
    gone = cli("test", hook["id"])
    assert (gone.returncode, gone.stderr) == (2, f"issuetracker: There is no webhook {hook['id']}.\n")
