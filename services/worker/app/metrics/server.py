"""Serves the metrics of all worker processes from the main process."""

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
    """Metrics of the main process, computed at each scrape."""

    def collect(self) -> Iterable[Metric]:
        """Return the gauges."""
        consuming = GaugeMetricFamily(
            "issuetracker_worker_consuming", "Whether the worker consumes the queue.", labels=["queue"]
        )
        consumed = heartbeat.consumed_queues()
        for queue in Queue:
            consuming.add_metric([queue], queue in consumed)
        yield consuming
        build = GaugeMetricFamily(
            "issuetracker_build_info",
            "Versions of the running service.",
            labels=["service", "version", "contract_version"],
        )
        build.add_metric(["worker", VERSION, CONTRACT_VERSION], 1)
        yield build


class Sums(MultiProcessCollector):
    """The sums of the metrics over all processes."""

    def collect(self) -> Iterable[Metric]:
        """Read all files; retry once if a file was just created and is still empty."""
        try:
            return self._read()
        except struct.error:
            return self._read()

    def _read(self) -> Iterable[Metric]:
        found: Iterable[Metric] = super().collect()  # type: ignore[no-untyped-call]
        return found


def registry(directory: str) -> CollectorRegistry:
    """Return a registry with the gauges of the main process and the sums over all processes."""
    served = CollectorRegistry()
    served.register(MainProcess())
    ProcessCollector(registry=served)
    Sums(served, directory)  # type: ignore[no-untyped-call]
    return served


def serve() -> None:
    """Serve METRICS_PORT from a thread; if the port cannot be opened, print one line and exit with code 2."""
    if settings.metrics_port is None:
        return
    try:
        start_http_server(settings.metrics_port, settings.metrics_address, registry(str(storage.directory)))
    except OSError as error:
        print(
            f"issuetracker: cannot listen on METRICS_PORT {settings.metrics_port} at {settings.metrics_address}: "
            f"{error.strerror}. Set another port or address.",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
