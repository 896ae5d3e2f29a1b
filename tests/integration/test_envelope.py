"""The messages that the dispatcher writes are those that Celery would have sent."""

import json
from typing import Any

import redis
from celery import Celery

from api.dispatch.envelope import celery_message, job_id_of
from contracts import CONTRACT_VERSION
from contracts.ids import new_id
from contracts.messages import EnrichIssue
from contracts.names import Queue, Task
from tests.support.servers import Servers

# What differs between any two messages, or between any two publishers.
OF_THE_PUBLISHER = {"origin", "reply_to", "delivery_tag"}


def without_publisher(raw: str) -> dict[str, Any]:
    def drop(found: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in found.items() if key not in OF_THE_PUBLISHER}

    kept: dict[str, Any] = json.loads(raw, object_hook=drop)
    return kept


def test_message_is_what_celery_publishes(servers: Servers, broker: redis.Redis) -> None:
    job_id = new_id()
    message = EnrichIssue(contract_version=CONTRACT_VERSION, job_id=job_id, issue_id=new_id())
    fields = message.model_dump(mode="json")
    producer = Celery(broker=servers.env["CELERY_BROKER_URL"])
    producer.send_task(Task.ENRICH_ISSUE, kwargs=fields, task_id=str(job_id), queue="issues")
    by_celery = broker.lpop("issues")
    assert isinstance(by_celery, str)

    ours = celery_message(job_id, Task.ENRICH_ISSUE, Queue.ISSUES, fields, retries=0).decode()

    # The same keys in the same order with the same values: only the publisher's own marks differ.
    assert json.dumps(without_publisher(ours)) == json.dumps(without_publisher(by_celery))
    assert json.loads(ours).keys() == json.loads(by_celery).keys()
    assert job_id_of(by_celery) == str(job_id)


def test_what_is_no_message_has_no_job() -> None:
    for raw in (b"", b"x", b"[]", b"{}", b'{"headers": null}', b'{"headers": {"id": 7}}'):
        assert job_id_of(raw) is None
