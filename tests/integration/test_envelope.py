"""The messages of the dispatcher equal those of Celery."""

import json
from typing import Any

import redis
from celery import Celery

from api.dispatch.envelope import encode_message, parse_job_id
from contracts import CONTRACT_VERSION
from contracts.ids import new_id
from contracts.messages import EnrichIssue
from contracts.names import Queue, Task
from tests.support.servers import Servers

# Fields that differ between messages or publishers.
PUBLISHER_FIELDS = {"origin", "reply_to", "delivery_tag"}


def without_publisher(raw: str) -> dict[str, Any]:
    def drop(found: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in found.items() if key not in PUBLISHER_FIELDS}

    fields: dict[str, Any] = json.loads(raw, object_hook=drop)
    return fields


def test_celery_message_equals_message_published_by_celery(servers: Servers, broker: redis.Redis) -> None:
    job_id = new_id()
    message = EnrichIssue(contract_version=CONTRACT_VERSION, job_id=job_id, issue_id=new_id())
    fields = message.model_dump(mode="json")
    producer = Celery(broker=servers.env["CELERY_BROKER_URL"])
    producer.send_task(Task.ENRICH_ISSUE, kwargs=fields, task_id=str(job_id), queue="issues")
    by_celery = broker.lpop("issues")
    assert isinstance(by_celery, str)

    ours = encode_message(job_id, Task.ENRICH_ISSUE, Queue.ISSUES, fields, retries=0).decode()

    # Same keys, order and values. Only the fields of the publisher differ.
    assert json.dumps(without_publisher(ours)) == json.dumps(without_publisher(by_celery))
    assert json.loads(ours).keys() == json.loads(by_celery).keys()
    assert parse_job_id(by_celery) == str(job_id)


def test_job_id_of_invalid_message_is_none() -> None:
    for raw in (b"", b"x", b"[]", b"{}", b'{"headers": null}', b'{"headers": {"id": 7}}'):
        assert parse_job_id(raw) is None
