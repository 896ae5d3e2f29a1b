"""Messages that no worker can run: the worker survives, and the ledger stores each one unchanged."""

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import redis

from api.dispatch.envelope import encode_message
from contracts import CONTRACT_VERSION
from contracts.ids import new_id
from contracts.limits import MESSAGE_MAX
from contracts.names import Task
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.database import Database
from tests.support.processes import Api
from tests.support.tasks import PROVIDER_TASK
from tests.support.waiting import DEADLINE_S, wait_until

SHORT = {"LEASE_SECONDS": "2", "DISPATCH_POLL_SECONDS": "0.1", "REJECTED_RETRY_SECONDS": "0.2"}
Envelope = dict[str, Any]


def envelope(task: str = Task.ENRICH_ISSUE, **fields: Any) -> Envelope:
    job_id = new_id()
    message = {
        "contract_version": CONTRACT_VERSION,
        "job_id": str(job_id),
        "issue_id": str(new_id()),
        **fields,
    }
    result: Envelope = json.loads(encode_message(job_id, task, "issues", message, 0))
    return result


def envelope_with_body(body: object) -> str:
    return json.dumps({**envelope(), "body": b64encode(json.dumps(body).encode()).decode()})


def envelope_with_properties(**changed: object) -> str:
    result = envelope()
    return json.dumps({**result, "properties": {**result["properties"], **changed}})


def envelope_with_headers(**changed: object) -> str:
    result = envelope()
    return json.dumps({**result, "headers": {**result["headers"], **changed}})


def envelope_without(*path: str) -> str:
    result = envelope()
    part = result
    for key in path[:-1]:
        part = part[key]
    del part[path[-1]]
    return json.dumps(result)


BAD_MESSAGES: dict[str, tuple[Callable[[], str | bytes], str]] = {
    "not JSON": (lambda: "garbage", "undecodable"),
    "not UTF-8": (lambda: b"\xff\xfe\x00", "undecodable"),
    "empty": (lambda: "", "undecodable"),
    "a list": (lambda: "[1, 2]", "undecodable"),
    "a number": (lambda: "7", "undecodable"),
    "nested without end": (lambda: "[" * 50_000, "undecodable"),
    "no properties": (lambda: envelope_without("properties"), "undecodable"),
    "no delivery tag": (lambda: envelope_without("properties", "delivery_tag"), "undecodable"),
    "no headers": (lambda: envelope_without("headers"), "undecodable"),
    "headers null": (lambda: json.dumps({**envelope(), "headers": None}), "undecodable"),
    "no task": (lambda: envelope_without("headers", "task"), "undecodable"),
    "body not base64": (lambda: json.dumps({**envelope(), "body": "@@@"}), "undecodable"),
    "body not JSON": (lambda: json.dumps({**envelope(), "body": b64encode(b"x").decode()}), "undecodable"),
    "body of another shape": (lambda: envelope_with_body({"a": 1}), "undecodable"),
    "pickle": (
        lambda: json.dumps({**envelope(), "content-type": "application/x-python-serialize"}),
        "undecodable",
    ),
    "a time of its own": (lambda: envelope_with_headers(eta="yesterday"), "undecodable"),
    "oversized": (lambda: json.dumps(envelope(padding="x" * MESSAGE_MAX)), "oversized"),
    "unknown task": (lambda: json.dumps(envelope("app.tasks.unknown")), "unknown_task"),
    "wrong arguments": (lambda: json.dumps(envelope(issue_id="seven")), "invalid_arguments"),
    "no arguments": (lambda: envelope_with_body([[], {}, {}]), "invalid_arguments"),
    "positional arguments": (lambda: envelope_with_body([[1], {}, {}]), "invalid_arguments"),
    "a byte order mark": (lambda: b"\xef\xbb\xbf" + json.dumps(envelope()).encode(), "undecodable"),
    "UTF-16": (lambda: json.dumps(envelope()).encode("utf-16"), "undecodable"),
    "a type of kombu's": (
        lambda: json.dumps({**envelope(), "x": {"__type__": "no", "__value__": 1}}),
        "undecodable",
    ),
    "delivery info null": (lambda: envelope_with_properties(delivery_info=None), "undecodable"),
    "delivery info text": (lambda: envelope_with_properties(delivery_info="x"), "undecodable"),
    "delivery tag a list": (lambda: envelope_with_properties(delivery_tag=[1]), "undecodable"),
    "a time limit": (lambda: envelope_with_headers(timelimit=5), "undecodable"),
    "a chord": (lambda: envelope_with_headers(chord={"a": 1}), "undecodable"),
    "headers a list": (lambda: json.dumps({**envelope(), "headers": ["task"]}), "undecodable"),
    "options no object": (lambda: envelope_with_body([[], {}, 5]), "undecodable"),
    "version no version": (lambda: json.dumps(envelope(contract_version="one")), "invalid_arguments"),
    "version with NUL": (lambda: json.dumps(envelope(contract_version="2.\0")), "invalid_arguments"),
    "newer contract": (lambda: json.dumps(envelope(contract_version="99.0.0")), "newer_contract"),
}


def dead_letters(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.client.get("/api/v1/dead-letters", params={"limit": 100}).json()["items"]
    return found


def wait_for_settled(broker: redis.Redis) -> None:
    """Wait until workers have rejected every message, and the dispatcher has settled it.

    The dispatcher commits to the ledger before it removes the rejection from Redis.
    """
    wait_until(
        lambda: (broker.llen("issues"), broker.hlen("unacked"), broker.llen("refused")) == (0, 0, 0),
        "all messages to be settled",
    )


def test_bad_messages_are_stored_unchanged_and_worker_survives(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, broker: redis.Redis
) -> None:
    api = new_api(SHORT)
    worker = new_worker(SHORT)
    messages = {name: make() for name, (make, _) in BAD_MESSAGES.items()}
    for raw in messages.values():
        broker.lpush("issues", raw)
    api.post("A healthy issue behind them")

    wait_until(lambda: len(dead_letters(api)) == len(BAD_MESSAGES), "all dead letters")
    database.wait_for_states({"succeeded": 1})

    assert worker.process.exit_code is None
    stored = {bytes(row["raw"]): row["reason"] for row in database.query("SELECT raw, reason FROM dead_message")}
    for name, raw in messages.items():
        assert stored[raw if isinstance(raw, bytes) else raw.encode()] == BAD_MESSAGES[name][1], name
    wait_for_settled(broker)


def test_bad_message_sent_twice_is_stored_once_and_cannot_be_replayed(
    new_api: ApiFactory, new_worker: WorkerFactory, broker: redis.Redis
) -> None:
    api = new_api(SHORT)
    new_worker(SHORT)
    broker.lpush("issues", "garbage", "garbage")
    wait_until(lambda: len(dead_letters(api)) == 1, "the dead letter")
    wait_for_settled(broker)
    (letter,) = dead_letters(api)

    replay = api.client.post(f"/api/v1/dead-letters/{letter['id']}/replay")
    assert replay.status_code == 409
    assert "Discard it" in replay.json()["detail"]
    assert len(dead_letters(api)) == 1

    api.client.post(f"/api/v1/dead-letters/{letter['id']}/discard", json={"reason": "garbage"})
    assert dead_letters(api) == []


def test_foreign_message_when_replayed_runs_once_on_newer_worker(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, broker: redis.Redis
) -> None:
    api = new_api(SHORT)
    old = new_worker(SHORT, "old")
    broker.lpush("issues", json.dumps(envelope("tests.misbehave")))
    wait_until(lambda: len(dead_letters(api)) == 1, "the dead letter")
    (letter,) = dead_letters(api)
    assert letter["error"].startswith('unknown_task: this worker has no task "tests.misbehave"')
    old.process.stop(DEADLINE_S)
    new_worker(SHORT, "new", "tests.support.misbehaving_app")

    for _ in range(2):
        assert api.client.post(f"/api/v1/dead-letters/{letter['id']}/replay").status_code == 202

    database.wait_for_states({"succeeded": 1})
    assert database.one("SELECT count(*) FROM effect") == 1
    assert dead_letters(api) == []


def test_message_without_job_is_stored_and_can_be_replayed(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, broker: redis.Redis
) -> None:
    """The message of another producer, or one that is older than a restore of the database."""
    api = new_api(SHORT)
    new_worker(SHORT)
    issue_id = api.post("Restored").json()["id"]
    database.wait_for_states({"succeeded": 1})
    foreign = json.dumps(envelope(issue_id=issue_id))
    broker.lpush("issues", foreign, foreign)

    wait_until(lambda: len(dead_letters(api)) == 1, "the dead letter")
    wait_for_settled(broker)
    (letter,) = dead_letters(api)
    assert letter["error"].startswith("unknown_job")

    api.client.post(f"/api/v1/dead-letters/{letter['id']}/replay")
    database.wait_for_states({"succeeded": 2})


def test_message_without_job_while_circuit_is_open_is_stored(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, broker: redis.Redis
) -> None:
    database.query(
        "INSERT INTO circuit (task, provider, failures, last_error, open_until) "
        "VALUES (%s, 'a-provider', 3, 'away', now() + interval '1 h')",
        PROVIDER_TASK,
    )
    api = new_api(SHORT)
    new_worker(SHORT, app="tests.support.misbehaving_app")

    broker.lpush("issues", json.dumps(envelope(PROVIDER_TASK, url="http://127.0.0.1:1")))

    wait_until(lambda: len(dead_letters(api)) == 1, "the dead letter")
    assert dead_letters(api)[0]["error"].startswith("unknown_job")


def test_message_rejected_while_redis_is_full_is_stored(
    new_api: ApiFactory, new_worker: WorkerFactory, broker: redis.Redis
) -> None:
    api = new_api(SHORT)
    new_worker(SHORT)
    broker.lpush("default", "first")
    wait_until(lambda: len(dead_letters(api)) == 1, "the first dead letter")
    with broker.pipeline() as transaction:
        transaction.lpush("issues", "second")
        transaction.config_set("maxmemory", "1")
        transaction.execute()
    try:
        wait_until(lambda: len(dead_letters(api)) == 2, "the second dead letter")
    finally:
        broker.config_set("maxmemory", "0")


def test_rejection_in_unknown_format_is_stored(
    new_api: ApiFactory, broker: redis.Redis, database: Database
) -> None:
    api = new_api(SHORT)
    broker.rpush("refused", '{"contract_version": "2.0.0", "why": "in other words"}')

    wait_until(lambda: len(dead_letters(api)) == 1, "the dead letter")
    assert b"in other words" in bytes(database.one("SELECT raw FROM dead_message"))


@pytest.mark.parametrize("version", ["99.0.0", None])
def test_job_for_newer_worker_waits_for_it(
    version: str | None, new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    """An unknown task or a newer contract: the old worker requeues the job, and a newer one completes it."""
    new_api(SHORT)
    old = new_worker(SHORT, "old")
    task = "tests.misbehave" if version is None else Task.ENRICH_ISSUE
    job_id = database.add_job(task, **({} if version is None else {"contract_version": version}))
    wait_until(lambda: database.job(job_id)["refused_since"] is not None, "the rejection")
    first = database.job(job_id)["refused_since"]
    wait_until(
        lambda: sum("message_rejected" in line for line in old.log.lines) >= 3,
        "the message to be delivered again",
    )
    job = database.job(job_id)
    assert (job["state"] in {"pending", "queued"}, job["attempts"]) == (True, 0)
    assert job["refused_since"] == first

    if version is None:
        new_worker(SHORT, "new", "tests.support.misbehaving_app")
        database.wait_for_states({"succeeded": 1})
        assert database.job(job_id)["refused_since"] is None
    else:
        database.query("UPDATE job SET refused_since = now() - interval '25 h'")
        database.wait_for_states({"dead": 1})
        assert "contract version 99.0.0 is newer" in database.job(job_id)["last_error"]
    assert database.one("SELECT count(*) FROM dead_message") == 0


def test_backlog_for_newer_workers_is_rejected_once_and_waits(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, broker: redis.Redis
) -> None:
    """As after a rollback. A rejection older than its lease would be published and rejected again."""
    backlog = 3000
    database.query(
        "INSERT INTO job (id, task, queue, message) "
        "SELECT id, 'tests.misbehave', 'default', jsonb_build_object('contract_version', '1.0.0', 'job_id', id) "
        "FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, %s)) AS made",
        backlog,
    )
    new_api({"REJECTED_RETRY_SECONDS": "3600"})
    worker = new_worker({})

    waiting_jobs = (
        "SELECT count(*) FROM job WHERE refused_since IS NOT NULL AND state = 'pending' AND attempts = 0"
    )
    wait_until(lambda: database.one(waiting_jobs) == backlog, "the backlog to be rejected and pending")

    # The dispatcher commits to the ledger before it removes the rejections from Redis.
    wait_until(lambda: broker.llen("refused") == 0, "the list of rejected messages to be empty")

    def count_logged() -> int:
        return sum("message_rejected" in line for line in list(worker.log.lines))

    wait_until(lambda: count_logged() >= backlog, "the log lines of all rejections")
    assert count_logged() == backlog


def test_job_with_invalid_message_is_dead_after_first_delivery(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    new_api(SHORT)
    new_worker(SHORT)
    job_id = database.add_job(Task.ENRICH_ISSUE, issue_id="seven")

    database.wait_for_states({"dead": 1})

    (failure,) = database.failures(job_id)
    assert (failure["kind"], failure["attempt"]) == ("permanent", 0)
    assert "issue_id" in failure["error"]


def test_rejection_with_two_dispatchers_is_stored_once(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, broker: redis.Redis
) -> None:
    apis = [new_api(SHORT), new_api(SHORT)]
    new_worker(SHORT)
    for number in range(50):
        broker.lpush("issues", f"garbage {number}")

    wait_until(lambda: database.one("SELECT count(*) FROM dead_message") == 50, "all dead messages")
    wait_until(lambda: broker.llen("refused") == 0, "the list of rejected messages to be empty")
    responses: list[httpx.Response] = [api.client.get("/api/v1/dead-letters?limit=100") for api in apis]
    assert [len(response.json()["items"]) for response in responses] == [50, 50]
