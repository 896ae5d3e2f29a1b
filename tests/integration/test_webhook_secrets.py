"""Webhook secrets are encrypted with SECRET_KEYS, whose rotation loses no delivery."""

import re
import sys
from collections.abc import Iterator

import pytest
import redis
from cryptography.fernet import Fernet

from tests.conftest import STOP_TIMEOUT_S, ApiFactory, WorkerFactory
from tests.integration.test_issues_api import assert_problem
from tests.support.cli import run_cli
from tests.support.database import Database
from tests.support.forked import run_until_exit
from tests.support.processes import API, Api
from tests.support.receiver import HOST, Receiver
from tests.support.servers import Servers
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("webhook_secrets")

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
SETTINGS = {"WEBHOOK_ALLOW": HOST, "DISPATCH_POLL_SECONDS": "0.1", "RETRY_DELAYS": "0.1"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def deliver(api: Api, webhook: dict[str, str], receiver: Receiver) -> None:
    """Send a test event, and verify its signature."""
    before = len(receiver.received)
    assert api.client.post(f"/api/v1/webhooks/{webhook['id']}/test").status_code == 202
    wait_until(lambda: len(receiver.received) > before, "the delivery")
    receiver.received[before].verify(webhook["secret"])


def read_secrets(database: Database) -> list[str]:
    rows = database.query("SELECT secret, previous_secret FROM webhook ORDER BY id")
    return [secret for row in rows for secret in row.values() if secret is not None]


def encrypt(api: Api) -> str:
    done = run_cli(str(api.client.base_url), "webhooks", "encrypt-secrets")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_webhook_secrets_with_keys_are_encrypted_and_rotation_loses_no_delivery(
    new_api: ApiFactory, new_worker: WorkerFactory, receiver: Receiver, database: Database
) -> None:
    clear_api = new_api(SETTINGS)
    body = {"url": receiver.url, "events": ["issue.created"]}
    webhook = clear_api.client.post("/api/v1/webhooks", json=body).json()
    assert read_secrets(database) == [webhook["secret"]]
    doctor = run_cli(str(clear_api.client.base_url), "doctor").stdout
    assert "the database has 1 in clear text: set SECRET_KEYS" in doctor
    assert "SECRET_KEYS is not set" in str(
        assert_problem(clear_api.client.post("/api/v1/webhooks/secrets/encrypt"), 409)["detail"]
    )

    # The first key.
    api = new_api({**SETTINGS, "SECRET_KEYS": OLD})
    worker = new_worker({**SETTINGS, "SECRET_KEYS": OLD})
    deliver(api, webhook, receiver)
    assert encrypt(api) == "1 webhooks encrypted, 0 unreadable\n"
    assert encrypt(api) == "0 webhooks encrypted, 0 unreadable\n"
    deliver(api, webhook, receiver)
    rotated = api.client.post(f"/api/v1/webhooks/{webhook['id']}/secret", json={"overlap_hours": 1}).json()
    deliver(api, webhook, receiver)
    deliver(api, rotated, receiver)
    assert len(stored := read_secrets(database)) == 2
    assert {Fernet(OLD).decrypt(secret).decode() for secret in stored} == {webhook["secret"], rotated["secret"]}
    assert "no secret is in clear text" in run_cli(str(api.client.base_url), "doctor").stdout

    # The next key.
    worker.process.stop(STOP_TIMEOUT_S)
    new = new_api({**SETTINGS, "SECRET_KEYS": f"{NEW}, {OLD}"})
    worker = new_worker({**SETTINGS, "SECRET_KEYS": f"{NEW}, {OLD}"})
    deliver(new, rotated, receiver)
    assert encrypt(new) == "1 webhooks encrypted, 0 unreadable\n"
    worker.process.stop(STOP_TIMEOUT_S)
    worker = new_worker({**SETTINGS, "SECRET_KEYS": NEW})
    deliver(new, rotated, receiver)
    assert {Fernet(NEW).decrypt(secret).decode() for secret in read_secrets(database)} == {
        webhook["secret"],
        rotated["secret"],
    }

    # An API without the next key.
    failed = run_cli(str(api.client.base_url), "webhooks", "encrypt-secrets")
    assert failed.returncode == 1
    assert f"{webhook['id']}: no key decrypts its secret." in failed.stdout


def test_delivery_with_unreadable_secret_becomes_dead_letter_with_the_reason(
    new_api: ApiFactory, new_worker: WorkerFactory, receiver: Receiver, database: Database, broker: redis.Redis
) -> None:
    del broker
    api = new_api({**SETTINGS, "SECRET_KEYS": OLD})
    new_worker(SETTINGS)
    body = {"url": receiver.url, "events": ["issue.created"]}
    webhook = api.client.post("/api/v1/webhooks", json=body).json()
    delivery = api.client.post(f"/api/v1/webhooks/{webhook['id']}/test").json()["id"]

    wait_until(lambda: database.job(delivery)["state"] == "dead", "the dead letter")
    assert "no key of SECRET_KEYS decrypts the webhook's secret" in database.job(delivery)["last_error"]
    assert receiver.received == []


def test_rotation_of_unreadable_secret_repairs_deliveries(
    new_api: ApiFactory, new_worker: WorkerFactory, receiver: Receiver, database: Database, broker: redis.Redis
) -> None:
    del broker
    body = {"url": receiver.url, "events": ["issue.created"]}
    webhook = new_api({**SETTINGS, "SECRET_KEYS": OLD}).client.post("/api/v1/webhooks", json=body).json()
    api = new_api({**SETTINGS, "SECRET_KEYS": NEW})
    new_worker({**SETTINGS, "SECRET_KEYS": NEW})

    rotated = api.client.post(f"/api/v1/webhooks/{webhook['id']}/secret", json={"overlap_hours": 24}).json()

    deliver(api, rotated, receiver)
    assert encrypt(api) == "1 webhooks encrypted, 0 unreadable\n"
    (stored,) = read_secrets(database)
    assert Fernet(NEW).decrypt(stored).decode() == rotated["secret"]


@pytest.mark.parametrize("keys", [f"{NEW},short-key", f"{NEW}{OLD}"], ids=["short", "without comma"])
def test_malformed_key_is_rejected_without_printing_it(keys: str, servers: Servers) -> None:
    command = [sys.executable, "-m", "uvicorn", "main:app"]
    code, (line,) = run_until_exit(API, command, {**servers.env, "SECRET_KEYS": keys})

    assert code == 2
    assert re.match(
        r"issuetracker: bad setting: SECRET_KEYS\.\d: The value must be 32 bytes in URL-safe base64", line
    )
    assert not any(key in line for key in keys.split(","))
