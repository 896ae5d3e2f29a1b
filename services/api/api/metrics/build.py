"""Build information."""

from prometheus_client import Gauge

from contracts import CONTRACT_VERSION, VERSION

BUILD = Gauge(
    "issuetracker_build_info", "Versions of the running service.", ["service", "version", "contract_version"]
)


def set_build_info(service: str) -> None:
    """Expose the service's name and versions."""
    BUILD.labels(service, VERSION, CONTRACT_VERSION).set(1)
