"""The processes of a chaos round and the faults that it causes."""

import random
import signal
import time
from collections.abc import Callable
from functools import partial

import psutil
import redis

from tests.support.processes import Api, RunningProcess, start_api, start_worker
from tests.support.servers import Servers
from tests.support.waiting import DEADLINE_S, wait_until

SETTINGS = {
    # Short enough for a round of one minute, and long enough that a slow machine does not lose leases.
    "LEASE_SECONDS": "5",
    "RETRY_DELAYS": "1,2,4",
    "DISPATCH_POLL_SECONDS": "0.5",
    "WORKER_CONCURRENCY": "2",
}
APP = "tests.support.slow_app"
PAUSE_S = (0.5, 7.0)
"""Duration of a pause in seconds. Some pauses are longer than a lease."""


class Fleet:
    """Two API processes and two workers on one pair of servers. The fleet restarts every killed process."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self._rng = random.Random()
        self._env = {**servers.env, **SETTINGS}
        self.apis = [start_api(self._env) for _ in range(2)]
        self.workers = [start_worker(self._env, f"worker{number}", APP) for number in range(2)]
        self.faults: dict[str, Callable[[], None]] = {
            "worker killed": self._kill_worker,
            "worker's child killed": self._kill_child,
            "worker paused": lambda: self._pause(self._rng.choice(self.workers)),
            "api killed": self._kill_api,
            "api paused": lambda: self._pause(self._rng.choice(self.apis)),
            "redis killed, data kept": self._kill_redis,
            "redis wiped": self._wipe_redis,
            "redis paused": self._pause_redis,
            "postgresql stopped immediately": self._stop_postgres,
            "postgresql killed": self._kill_postgres,
        }

    def set_seed(self, seed: int) -> None:
        """Make the following faults depend only on the seed."""
        self._rng = random.Random(seed)

    def stop(self) -> None:
        for process_group in (*self.apis, *self.workers):
            process_group.process.stop(60)

    def cause(self, name: str) -> float:
        """Cause a fault and return its time. Raise an error if a process ended by itself before."""
        self.ensure_alive()
        caused_at = time.monotonic()
        self.faults[name]()
        return caused_at

    def ensure_alive(self) -> None:
        """Raise AssertionError if a process ended by itself."""
        for process_group in (*self.apis, *self.workers):
            if process_group.process.exit_code is not None:
                raise AssertionError(f"{process_group.process.name} ended by itself:\n{process_group.log}")

    def _kill_worker(self) -> None:
        number = self._rng.randrange(len(self.workers))
        self.workers[number].process.kill_group()
        self.workers[number] = start_worker(self._env, f"worker{number}", APP)

    def _kill_child(self) -> None:
        children = psutil.Process(self._rng.choice(self.workers).process.pid).children()
        if children:
            self._rng.choice(children).kill()

    def _pause(self, process_group: RunningProcess) -> None:
        process_group.process.send_group(signal.SIGSTOP)
        time.sleep(self._rng.uniform(*PAUSE_S))
        process_group.process.send_group(signal.SIGCONT)

    def _kill_api(self) -> None:
        number = self._rng.randrange(len(self.apis))
        old: Api = self.apis[number]
        old.process.kill_group()
        old.client.close()
        self.apis[number] = start_api(self._env)

    def _kill_redis(self) -> None:
        self.servers.valkey_process.kill_group()
        time.sleep(self._rng.uniform(0, 3))
        self.servers.valkey.start()

    def _wipe_redis(self) -> None:
        with redis.Redis(port=self.servers.redis_port) as client:
            client.flushall()

    def _pause_redis(self) -> None:
        self.servers.valkey_process.send_group(signal.SIGSTOP)
        time.sleep(self._rng.uniform(0.5, 4))
        self.servers.valkey_process.send_group(signal.SIGCONT)

    def _stop_postgres(self) -> None:
        self.servers.postgres_process.send(signal.SIGQUIT)
        self.servers.postgres_process.wait(DEADLINE_S)
        time.sleep(self._rng.uniform(0, 3))
        self.servers.postgres.start()

    def _kill_postgres(self) -> None:
        self.servers.kill_postgres()
        time.sleep(self._rng.uniform(0, 2))
        self.servers.postgres.start()

    def wait_serving(self) -> None:
        """Wait until every API process is ready."""
        for api in self.apis:
            wait_until(partial(_ready, api), "an API process to be ready")


def _ready(api: Api) -> bool:
    return api.client.get("/readyz").is_success
