"""Webhooks: delivered events, retries, pauses and failures of the receiver."""

import json
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
from tests.conftest import STOP_TIMEOUT_S
from tests.support.cli import run_cli
from tests.support.database import Database
from tests.support.ports import free_port
from tests.support.processes import Api, RunningProcess, start_api, start_worker
from tests.support.receiver import HOST, Receiver
from tests.support.servers import Servers
from tests.support.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.xdist_group("webhooks")

SETTINGS = {
    # More attempts than a receiver can get that is down while a test waits.
    "RETRY_DELAYS": ",".join(["0.1"] * 50),
    "DISPATCH_POLL_SECONDS": "0.1",
    "LEASE_SECONDS": "4",
    "CIRCUIT_THRESHOLD": "3",
    "CIRCUIT_PAUSE_SECONDS": "0.5",
    "WEBHOOK_ALLOW": HOST,
}
WEBHOOKS_URL = "/api/v1/webhooks"


@dataclass
class Stack:
    """The API and the worker of this module."""

    servers: Servers
    api: Api
    worker: RunningProcess

    def restart_worker(self) -> None:
        self.worker = start_worker({**self.servers.env, **SETTINGS}, "webhooks")

    def create_webhook(self, receiver: Receiver | str, *events: str) -> dict[str, Any]:
        url = receiver if isinstance(receiver, str) else receiver.url
        response = self.api.client.post(WEBHOOKS_URL, json={"url": url, "events": events or list(WebhookEvent)})
        assert response.status_code == 201, response.text
        created: dict[str, Any] = response.json()
        return created

    def send_test(self, hook: dict[str, Any]) -> str:
        response = self.api.client.post(f"{WEBHOOKS_URL}/{hook['id']}/test")
        assert response.status_code == 202, response.text
        return str(response.json()["id"])

    def deliveries(self, hook: dict[str, Any]) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.api.client.get(f"{WEBHOOKS_URL}/{hook['id']}/deliveries").json()[
            "items"
        ]
        return items

    def wait_for(self, hook: dict[str, Any], *states: str) -> list[dict[str, Any]]:
        def are_reached() -> bool:
            return sorted(delivery_item["state"] for delivery_item in self.deliveries(hook)) == sorted(states)

        wait_until(are_reached, lambda: f"{states}, not {self.deliveries(hook)}\n{self.worker.log}")
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


def test_webhook_receives_events_of_issue(stack: Stack, receiver: Receiver, database: Database) -> None:
    hook = stack.create_webhook(receiver)
    issue = stack.api.post("Login button does nothing", description="A click on it has no effect.").json()
    url = f"/api/v1/issues/{issue['id']}"
    wait_until(lambda: set(receiver.events()) == {"issue.created", "issue.enriched"}, "the enriched issue")
    enriched = next(
        delivery_item for delivery_item in receiver.received if delivery_item.event["type"] == "issue.enriched"
    )
    issue_of_api = stack.api.client.get(url).json()
    tags = ["bug", "frontend"]
    assert stack.api.client.put(f"{url}/tags", json={"tags": tags}).is_success
    # After a deletion, the worker sends no other event of the issue.
    wait_until(lambda: "issue.updated" in receiver.events(), "the updated issue")
    assert stack.api.client.delete(url).status_code == 204
    stack.wait_for(hook, *["succeeded"] * 4)

    payload = enriched.verify(hook["secret"])

    assert payload["type"] == "issue.enriched"
    assert payload["data"]["ai_summary"].startswith("AI Summary")
    assert {name: issue_of_api[name] for name in payload["data"]}.keys() == payload["data"].keys()
    unchanged_fields = payload["data"].keys() - {"created_at", "updated_at"}
    assert {name: issue_of_api[name] for name in unchanged_fields} == {
        name: payload["data"][name] for name in unchanged_fields
    }
    assert sorted(receiver.events()) == ["issue.created", "issue.deleted", "issue.enriched", "issue.updated"]
    deleted = next(
        delivery_item.event
        for delivery_item in receiver.received
        if delivery_item.event["type"] == "issue.deleted"
    )
    assert deleted["data"].keys() == {"id", "project", "external", "deleted_at"}
    updated = next(
        delivery_item.event
        for delivery_item in receiver.received
        if delivery_item.event["type"] == "issue.updated"
    )
    assert updated["data"]["tags"] == tags
    assert {delivery_item["status_code"] for delivery_item in stack.deliveries(hook)} == {204}
    for row in database.query("SELECT id, message FROM job WHERE task = %s", Task.DELIVER_WEBHOOK):
        message = DeliverWebhook.model_validate(row["message"])
        assert str(message.job_id) == row["id"]
        assert (message.request_id is None) == (row["id"] != enriched.id), (
            "only deliveries that follow a request must have a request id"
        )


def test_webhook_receives_only_selected_events_while_active(
    stack: Stack, receiver: Receiver, database: Database
) -> None:
    stack.create_webhook(receiver, "issue.deleted")
    inactive_hook = stack.create_webhook(receiver)
    assert (
        stack.api.client.patch(f"{WEBHOOKS_URL}/{inactive_hook['id']}", json={"active": False}).json()["active"]
        is False
    )
    stack.api.post()
    database.wait_for_states({"succeeded": 1})

    assert database.one("SELECT count(*) FROM webhook_delivery") == 0
    stack.send_test(inactive_hook)
    stack.wait_for(inactive_hook, "succeeded")
    assert receiver.events() == ["webhook.test"]


def test_webhook_retry_has_same_id_and_valid_signature(stack: Stack, receiver: Receiver) -> None:
    receiver.statuses = [500, 429]
    hook = stack.create_webhook(receiver)

    delivery_id = stack.send_test(hook)

    (delivery,) = stack.wait_for(hook, "succeeded")
    assert (delivery["attempts"], delivery["status_code"], delivery["error"]) == (3, 204, None)
    assert [delivery_item.id for delivery_item in receiver.received] == [delivery_id] * 3
    assert {delivery_item.verify(hook["secret"])["data"]["webhook_id"] for delivery_item in receiver.received} == {
        hook["id"]
    }


def test_webhook_retry_waits_for_retry_after(stack: Stack, receiver: Receiver, database: Database) -> None:
    receiver.statuses, receiver.headers = [503], {"retry-after": "600"}
    hook = stack.create_webhook(receiver)
    delivery_id = stack.send_test(hook)

    (delivery,) = stack.wait_for(hook, "retrying")

    assert delivery["error"] == "ProviderError: status 503"
    (failure,) = database.failures(delivery_id)
    assert (database.job(delivery_id)["run_at"] - failure["failed_at"]).total_seconds() == 600


def test_webhook_receiver_that_is_down_delays_no_other_and_loses_nothing(stack: Stack, receiver: Receiver) -> None:
    down = Receiver(port=free_port())  # which no other test takes meanwhile
    down.close()
    hook, other = stack.create_webhook(down), stack.create_webhook(receiver)
    for _ in range(12):
        stack.send_test(hook)

    def is_paused() -> bool:
        return stack.api.client.get(f"{WEBHOOKS_URL}/{hook['id']}").json()["paused_until"] is not None

    wait_until(is_paused, "the deliveries to be paused")
    stack.send_test(other)
    stack.wait_for(other, "succeeded")
    assert all(delivery_item["state"] != "dead" for delivery_item in stack.deliveries(hook)), (
        "paused deliveries must not use attempts"
    )

    restored = Receiver(port=down.port)
    try:
        stack.wait_for(hook, *["succeeded"] * 12)
        wait_until(lambda: not is_paused(), "the pause to end")
    finally:
        restored.close()
    assert {delivery_item.id for delivery_item in restored.received} == {
        delivery_item["id"] for delivery_item in stack.deliveries(hook)
    }


def test_webhook_delivery_rejected_by_receiver_is_dead_and_replayable(stack: Stack, receiver: Receiver) -> None:
    receiver.statuses, receiver.headers = [302], {"location": receiver.url}
    hook = stack.create_webhook(receiver)
    delivery_id = stack.send_test(hook)
    (delivery,) = stack.wait_for(hook, "dead")
    assert delivery["error"] == "PermanentError: status 302: redirects are not followed"
    assert (delivery["attempts"], delivery["status_code"], len(receiver.received)) == (1, 302, 1)

    assert stack.api.client.post(f"/api/v1/dead-letters/{delivery_id}/replay").status_code == 202

    stack.wait_for(hook, "succeeded")
    assert [delivery_item.id for delivery_item in receiver.received] == [delivery_id] * 2


def test_webhook_after_410_is_deactivated(stack: Stack, receiver: Receiver, database: Database) -> None:
    receiver.statuses = [410]
    hook = stack.create_webhook(receiver)
    stack.send_test(hook)
    stack.wait_for(hook, "dead")

    webhook = stack.api.client.get(f"{WEBHOOKS_URL}/{hook['id']}").json()

    assert (webhook["active"], webhook["deactivated_reason"]) == (False, "the receiver returned 410 Gone")
    (entry,) = database.query("SELECT actor, subject FROM audit_log WHERE action = 'webhook.deactivated'")
    assert entry["actor"].startswith("webhooks@")
    assert entry["subject"] == hook["id"]
    active = stack.api.client.patch(f"{WEBHOOKS_URL}/{hook['id']}", json={"active": True}).json()
    assert (active["active"], active["deactivated_reason"]) == (True, None)


@pytest.mark.parametrize("host", ["localhost", "169.254.169.254"])
def test_webhook_to_private_address_is_not_sent(stack: Stack, host: str, database: Database) -> None:
    """The worker checks the address itself, because the address of a name can change after creation."""
    internal = Receiver("127.0.0.1")
    hook = stack.create_webhook("https://hooks.example.com/")
    database.query("UPDATE webhook SET url = %s", f"http://{host}:{internal.port}/")
    stack.send_test(hook)

    (delivery,) = stack.wait_for(hook, "dead")

    internal.close()
    assert "private address" in delivery["error"]
    assert "WEBHOOK_ALLOW" in delivery["error"]
    assert (internal.received, delivery["attempts"]) == ([], 1)


def test_webhook_delivery_after_worker_kill_is_repeated(stack: Stack, receiver: Receiver) -> None:
    request_received, response = threading.Event(), threading.Event()

    def wait_for_release() -> None:
        request_received.set()
        response.wait(DEADLINE_S)

    receiver.before_response = wait_for_release
    hook = stack.create_webhook(receiver)
    delivery_id = stack.send_test(hook)
    assert request_received.wait(DEADLINE_S)

    stack.worker.process.send_group(signal.SIGKILL)
    stack.worker.process.wait(DEADLINE_S)
    response.set()
    stack.restart_worker()

    (delivery,) = stack.wait_for(hook, "succeeded")
    assert delivery["attempts"] >= 2
    assert {delivery_item.id for delivery_item in receiver.received} == {delivery_id}


def test_pending_deliveries_of_deleted_webhook_are_skipped(
    stack: Stack, receiver: Receiver, database: Database
) -> None:
    receiver.statuses, receiver.headers = [503], {"retry-after": "600"}
    hook = stack.create_webhook(receiver)
    delivery_id = stack.send_test(hook)
    stack.wait_for(hook, "retrying")
    # The worker counts the failure after it has ended the attempt.
    wait_until(lambda: database.one("SELECT count(*) FROM circuit") == 1, "the circuit breaker to count")

    assert stack.api.client.delete(f"{WEBHOOKS_URL}/{hook['id']}").status_code == 204

    assert stack.api.client.get(f"{WEBHOOKS_URL}/{hook['id']}").status_code == 404
    wait_until(lambda: database.job(delivery_id)["state"] == "skipped", "the waiting delivery to end")
    assert database.job(delivery_id)["note"] == "the webhook was deleted"
    remains = "SELECT (SELECT count(*) FROM webhook_delivery) + (SELECT count(*) FROM circuit)"
    wait_until(lambda: database.one(remains) == 0, "its rows to be deleted")
    # A delivery that a concurrent transaction created: the worker finds no webhook.
    late_delivery_id = database.add_job(Task.DELIVER_WEBHOOK, "default", webhook_id=hook["id"])
    wait_until(lambda: database.job(late_delivery_id)["state"] == "skipped", "the late delivery to be skipped")


def test_rotated_webhook_secret_overlaps_with_previous_secret(
    stack: Stack, receiver: Receiver, database: Database
) -> None:
    hook = stack.create_webhook(receiver)
    url = f"{WEBHOOKS_URL}/{hook['id']}"
    rotated = stack.api.client.post(f"{url}/secret", json={"overlap_hours": 1})
    assert rotated.headers["cache-control"] == "no-store"
    secret = rotated.json()["secret"]
    stack.send_test(hook)
    stack.wait_for(hook, "succeeded")
    assert receiver.received[0].headers["webhook-signature"].count("v1,") == 2
    for webhook in (hook["secret"], secret):
        receiver.received[0].verify(webhook)

    newest_secret = stack.api.client.post(f"{url}/secret", json={"overlap_hours": 0}).json()["secret"]
    stack.send_test(hook)
    stack.wait_for(hook, "succeeded", "succeeded")

    receiver.received[1].verify(newest_secret)
    for old_secret in (hook["secret"], secret):
        with pytest.raises(WebhookVerificationError):
            receiver.received[1].verify(old_secret)
    payload = [stack.api.client.get(path).text for path in (url, WEBHOOKS_URL, "/api/v1/audit")]
    logged = f"{stack.api.log}{stack.worker.log}"
    assert not any(
        webhook in text for webhook in (hook["secret"], secret, newest_secret) for text in (*payload, logged)
    )
    assert database.one("SELECT count(*) FROM audit_log WHERE action = 'webhook.secret_rotated'") == 2


def test_webhook_receives_dead_enrichment(stack: Stack, receiver: Receiver, database: Database) -> None:
    hook = stack.create_webhook(receiver, "issue.enrichment_dead")
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
        ({"url": "http://192.0.0.192/"}, "#/url"),
        ({"url": "http://2130706433/"}, "#/url"),
        ({"url": "https://hooks.example.com:0/"}, "#/url"),
        ({"url": "http://:80/"}, "#/url"),
        ({"url": "http://[::ffff:10.0.0.1]/"}, "#/url"),
        ({"events": []}, "#/events"),
        ({"events": ["issue.read"]}, "#/events/0"),
        ({"retries": 9}, "#/retries"),
        ({"active": 0}, "#/active"),
    ],
)
def test_invalid_webhook_is_rejected_with_pointer(stack: Stack, fields: dict[str, Any], pointer: str) -> None:
    good = {"url": "https://hooks.example.com/", "events": ["issue.created"]}
    responses = [stack.api.client.post(WEBHOOKS_URL, json=good | fields)]
    hook = stack.create_webhook("https://hooks.example.com/")
    responses.append(stack.api.client.patch(f"{WEBHOOKS_URL}/{hook['id']}", json=fields))

    assert [response.status_code for response in responses] == [422, 422]
    assert [response.json()["errors"][0]["pointer"] for response in responses] == [pointer, pointer]


def test_webhook_list_is_paginated_and_changes_are_audited(
    stack: Stack, receiver: Receiver, database: Database
) -> None:
    first, second = stack.create_webhook(receiver, "issue.created"), stack.create_webhook(receiver)
    page: httpx.Response = stack.api.client.get(WEBHOOKS_URL, params={"limit": 1})
    assert [hook["id"] for hook in page.json()["items"]] == [second["id"]]
    following = stack.api.client.get(page.links["next"]["url"]).json()
    assert ([hook["id"] for hook in following["items"]], following["next_cursor"]) == ([first["id"]], None)

    for _ in range(2):
        changed = stack.api.client.patch(
            f"{WEBHOOKS_URL}/{first['id']}", json={"events": ["issue.deleted"]}
        ).json()

    assert changed["events"] == ["issue.deleted"]
    actions = database.query("SELECT action FROM audit_log ORDER BY id")
    assert [row["action"] for row in actions] == ["webhook.created", "webhook.created", "webhook.changed"]
    unknown_id = "0197b4f4-8c5e-7a31-9d2b-3f6a1c0e5d77"
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test"), ("GET", "/deliveries")):
        body = {"active": False} if method == "PATCH" else None
        response = stack.api.client.request(method, f"{WEBHOOKS_URL}/{unknown_id}{path}", json=body)
        assert response.status_code == 404


def test_webhook_cli_manages_webhooks(stack: Stack, receiver: Receiver) -> None:
    def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_cli(str(stack.api.client.base_url), "webhooks", *arguments)

    created = cli("create", receiver.url, "--event", "issue.enriched", "--event", "issue.deleted")
    secret = created.stdout.strip()
    assert secret.startswith("whsec_")
    (hook,) = json.loads(cli("list", "--json").stdout)
    assert hook["events"] == ["issue.deleted", "issue.enriched"]
    assert cli("list").stdout.split()[4:6] == [hook["id"], "active"]

    queued = json.loads(cli("test", hook["id"], "--json").stdout)
    stack.wait_for(hook, "succeeded")
    assert cli("deliveries", hook["id"]).stdout.splitlines()[1].split()[:5] == [
        *(queued["id"], "webhook.test", "succeeded", "1", "204")
    ]
    assert receiver.received[0].verify(secret)["type"] == "webhook.test"
    rotated = cli("rotate-secret", hook["id"], "--overlap-hours", "0").stdout.strip()
    assert rotated.startswith("whsec_")
    assert rotated != secret

    assert cli("deactivate", hook["id"]).stdout == f"{hook['id']} is inactive\n"
    assert "inactive" in cli("list").stdout
    assert cli("activate", hook["id"]).stdout == f"{hook['id']} is active\n"

    assert cli("delete", hook["id"]).stdout == f"{hook['id']} is deleted\n"
    result = cli("test", hook["id"])
    assert (result.returncode, result.stderr) == (2, f"issuetracker: Webhook {hook['id']} does not exist.\n")
