"""Each service connects to Redis as its own user, with the rules of `deploy/redis/users`."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import httpx
import pytest
import redis

from contracts.names import HEARTBEAT_KEY_PREFIX, PRIORITY_SUFFIXES, REJECTED_MESSAGES_KEY, Queue
from tests.conftest import WORKER_STOP_TIMEOUT_S, ApiFactory, WorkerFactory
from tests.support.cli import run_cli
from tests.support.database import Database
from tests.support.flower import IMAGE, flower
from tests.support.forked import ForkedProcess
from tests.support.metrics import exporter, scrape
from tests.support.processes import WORKER, Api
from tests.support.redis_users import NAMES, connect_as, find_denied
from tests.support.schedules import add_schedules
from tests.support.servers import Log, Servers
from tests.support.waiting import wait_until

ALL, NONE = set(NAMES), set[str]()
PIDBOX, EVENTS = "/0.celery.pidbox", "/0.celeryev"

COMMANDS: dict[str, set[str]] = {
    **{
        f"LLEN {queue}{suffix}": {"api", "exporter", "flower", "worker"}
        for queue in Queue
        for suffix in PRIORITY_SUFFIXES
    },
    **{f"LPUSH {queue} message": {"api", "worker"} for queue in Queue},
    **{f"LRANGE {queue} 0 -1": {"api"} for queue in Queue},
    **{f"BRPOP {queue} 1": {"worker"} for queue in Queue},
    **{f"DEL {queue}": NONE for queue in Queue},
    f"RPUSH {REJECTED_MESSAGES_KEY} message": {"worker"},
    f"LRANGE {REJECTED_MESSAGES_KEY} 0 -1": {"api"},
    f"LREM {REJECTED_MESSAGES_KEY} 1 message": {"api"},
    "HLEN unacked": {"api", "exporter"},
    "HGET unacked tag": {"worker"},
    "HGETALL unacked": NONE,
    f"SET {HEARTBEAT_KEY_PREFIX}a {{}}": {"worker"},
    f"GET {HEARTBEAT_KEY_PREFIX}a": {"api"},
    "INCRBY ratelimit:token:1 1": {"api"},
    "GET celery-task-meta-1": {"worker"},
    "SELECT 1": {"worker"},
    f"PUBLISH {PIDBOX} shutdown": {"flower"},
    f"PSUBSCRIBE {PIDBOX}": {"worker"},
    f"PUBLISH {EVENTS}/task.multi event": {"worker"},
    f"PSUBSCRIBE {EVENTS}/*": {"flower"},
    "PSUBSCRIBE *": NONE,
    "LPUSH 1.reply.celery.pidbox reply": {"worker"},
    "BRPOP 1.reply.celery.pidbox 1": {"flower"},
    "DEL _kombu.binding.issues": {"worker"},
    "SCAN 0": {"api"},
    "INFO": ALL,
    "KEYS *": NONE,
    "FLUSHALL": NONE,
    "SHUTDOWN": NONE,
    "MONITOR": NONE,
    "CONFIG SET maxmemory 1": NONE,
    "ACL SETUSER api allcommands": NONE,
    "CLIENT KILL TYPE normal": NONE,
    "REPLICAOF localhost 1": NONE,
    "SCRIPT FLUSH": NONE,
    "EVAL return 0": NONE,
}
"""Commands, and the users that may run them."""


@pytest.mark.parametrize("command", COMMANDS)
def test_redis_command_is_allowed_only_for_users_that_need_it(command: str, servers: Servers) -> None:
    with redis.Redis(port=servers.redis_port, decode_responses=True) as client:
        replies = {user: client.acl_dryrun(user, *command.split(" ")) for user in NAMES}

    assert {user for user, reply in replies.items() if reply == "OK"} == COMMANDS[command], replies


def test_services_with_own_users_work_and_are_denied_nothing(
    new_worker: WorkerFactory, api: Api, servers: Servers, database: Database
) -> None:
    worker = new_worker({})
    with (
        flower({**servers.env, "FLOWER_UNAUTHENTICATED_API": "1"}, directory=IMAGE) as url,
        exporter(servers) as port,
    ):
        issue = api.post().json()["id"]
        summary = "SELECT ai_summary FROM issue WHERE id = %s"
        wait_until(lambda: database.one(summary, issue) is not None, lambda: f"a summary\n{worker.log}")

        def stats() -> dict[str, dict[str, object]]:
            query = {"refresh": "1", "status": "0"}
            found = httpx.get(f"{url}/api/workers", params=query, timeout=60)
            return {name: of_worker.get("stats") for name, of_worker in found.json().items()}

        wait_until(lambda: any(stats().values()), lambda: f"Flower to inspect the worker: {stats()}")
        tasks = httpx.get(f"{url}/api/tasks", timeout=60).json().values()
        assert {task["state"] for task in tasks} <= {"STARTED", "RECEIVED", "SUCCESS"}
        assert httpx.get(f"{url}/broker", timeout=60).status_code == 200
        metrics = scrape(port)
        assert metrics.one("redis_up") == 1
        assert metrics.has("queue_messages")
    wait_until(lambda: api.client.get("/api/v1/queues").json()["broker"] == "ok", "the state of the broker")
    add_schedules(database)

    def run_doctor() -> subprocess.CompletedProcess[str]:
        return run_cli(str(api.client.base_url), "doctor")

    # The worker's next heartbeat comes within seconds.
    wait_until(lambda: run_doctor().returncode == 0, lambda: run_doctor().stdout)
    assert find_denied(servers.redis_port) == []


@pytest.fixture
def without_users(servers: Servers) -> Iterator[Callable[[], None]]:
    """Delete the users, as on a server that is upgraded last; yield a function that adds them."""
    with redis.Redis(port=servers.redis_port, decode_responses=True) as client:
        rules = {name: rule for rule in client.acl_list() if (name := rule.split(" ")[1]) in NAMES}

        def add_users() -> None:
            for rule in rules.values():
                client.execute_command(f"ACL SETUSER {rule.removeprefix('user ')}")

        client.execute_command("ACL DELUSER", *NAMES)
        yield add_users
        add_users()
        client.acl_log_reset()


def test_services_started_before_their_users_exist_work_afterwards(
    without_users: Callable[[], None], new_api: ApiFactory, servers: Servers, database: Database
) -> None:
    api, log = new_api({"DISPATCH_POLL_SECONDS": "0.1"}), Log()
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "app.celery_app",
        "worker",
        "--without-mingle",
        "--without-gossip",
    ]
    env = connect_as("worker", {**servers.env, "LOG_FORMAT": "json"})
    worker = ForkedProcess("worker", command, log, cwd=WORKER, env=env)
    try:
        assert api.post().status_code == 201
        wait_until(lambda: log.has("invalid username-password"), lambda: f"the worker to be rejected\n{log}")
        assert worker.exit_code is None

        without_users()

        done = "SELECT count(*) FROM job WHERE state = 'succeeded'"
        wait_until(lambda: database.one(done) == 2, lambda: f"the issue to be enriched and indexed\n{log}")
    finally:
        worker.stop(WORKER_STOP_TIMEOUT_S)
