"""Run the autoscaler until SIGTERM."""

import asyncio
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import structlog

from api.autoscaler.decision import PodCount
from api.autoscaler.deployments import ACCOUNT, ClusterUnavailable, Deployments, find_server
from api.autoscaler.jobs import JobsUnknown, count_jobs
from api.autoscaler.settings import AutoscalerSettings
from api.outage_log import OutageLog
from contracts.logs import configure_logging
from contracts.names import Queue
from contracts.network import ALIVE_FILE
from contracts.settings import load

POLL_S = 15

logger = structlog.get_logger("autoscaler")


class Autoscaler:
    """Compares the jobs of each queue with the pods of its workers, `worker-QUEUE`."""

    def __init__(self, settings: AutoscalerSettings, deployments: Deployments) -> None:
        self._url = settings.database_url
        self._limit = settings.worker_concurrency * max(settings.autoscaler_pods.values())
        self._deployments = deployments
        now = time.monotonic()
        self._pods = {
            queue: PodCount(settings.worker_concurrency, pods, now)
            for queue, pods in settings.autoscaler_pods.items()
        }
        self._outages = OutageLog("scaling_paused", "scaling_resumed")

    async def scale(self) -> None:
        """Scale each queue once. A queue whose jobs or pods cannot be read keeps its pods."""
        failures: list[str] = []
        try:
            jobs = await count_jobs(self._url, self._limit)
        except JobsUnknown as outage:
            jobs, failures = {}, [str(outage)]
        for queue, number in jobs.items():
            try:
                await asyncio.to_thread(self._scale_queue, queue, number)
            except ClusterUnavailable as outage:
                failures.append(str(outage))
        if failures:
            self._outages.record_failure("; ".join(failures))
        else:
            self._outages.record_success()

    def _scale_queue(self, queue: Queue, jobs: int) -> None:
        name = f"worker-{queue}"
        current = self._deployments.read_pods(name)
        number = self._pods[queue].decide(current, jobs, time.monotonic())
        if number != current:
            self._deployments.set_pods(name, number)
            logger.info("deployment_scaled", deployment=name, pods=number, pods_before=current, jobs=jobs)


async def run(autoscaler: Autoscaler, alive: Path) -> None:
    """Scale periodically, and touch `alive` for the liveness probe, until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    while not stopping.is_set():
        await autoscaler.scale()
        await asyncio.to_thread(alive.touch)
        try:
            await asyncio.wait_for(stopping.wait(), POLL_S)
        except TimeoutError:
            continue


def main() -> int:
    """Run the autoscaler; return the exit code."""
    settings = load(AutoscalerSettings)
    configure_logging("autoscaler", settings.log_level, settings.log_format)
    try:
        deployments = Deployments(Path(os.environ.get("SERVICE_ACCOUNT", ACCOUNT)), find_server())
    except (KeyError, OSError) as error:
        print(f"autoscaler: it runs only in a pod with a service account: {error}", file=sys.stderr)
        return 2
    asyncio.run(run(Autoscaler(settings, deployments), Path(tempfile.gettempdir()) / ALIVE_FILE))
    return 0


if __name__ == "__main__":
    sys.exit(main())
