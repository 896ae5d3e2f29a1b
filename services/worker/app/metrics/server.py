"""Answers Prometheus from the worker's main process, for all of its processes."""

import struct
import sys
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from app.heartbeat_files import heartbeat
from app.metrics import storage
from app.settings import settings
from contracts import CONTRACT_VERSION, VERSION
from contracts.names import Queue


class MainProcess:
    """What only the main process knows, looked up when it is asked for."""

    def collect(self) -> Iterable[Metric]:
        """Return the gauges."""
        consuming = GaugeMetricFamily(
            "issuetracker_worker_consuming", "Whether messages of the queue are taken.", labels=["queue"]
        )
        asked = heartbeat.consumed_queues()
        for queue in Queue:
            consuming.add_metric([queue], queue in asked)
        yield consuming
        build = GaugeMetricFamily(
            "issuetracker_build_info", "What runs here.", labels=["service", "version", "contract_version"]
        )
        build.add_metric(["worker", VERSION, CONTRACT_VERSION], 1)
        yield build


class Sums(MultiProcessCollector):
    """The sums over all processes."""

    def collect(self) -> Iterable[Metric]:
        """Read all files; once more where one was just being made, and is still empty."""
        try:
            return self._read()
        except struct.error:
            return self._read()

    def _read(self) -> Iterable[Metric]:
        found: Iterable[Metric] = super().collect()  # type: ignore[no-untyped-call]
        return found


def registry(directory: str) -> CollectorRegistry:
    """Return what is served: the main process's own gauges, and the sums over all processes."""
    served = CollectorRegistry()
    served.register(MainProcess())
    ProcessCollector(registry=served)
    Sums(served, directory)  # type: ignore[no-untyped-call]
    return served


def serve() -> None:
    """Answer at METRICS_PORT from a thread; exit with one line where that port cannot be had."""
    if settings.metrics_port is None:
        return
    try:
        start_http_server(settings.metrics_port, settings.metrics_address, registry(str(storage.directory)))
    except OSError as error:
        print(
            f"issuetracker: METRICS_PORT {settings.metrics_port} at {settings.metrics_address}: {error.strerror}",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
