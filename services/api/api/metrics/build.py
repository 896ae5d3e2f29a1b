"""What runs here."""

from prometheus_client import Gauge

from contracts import CONTRACT_VERSION, VERSION

BUILD = Gauge("issuetracker_build_info", "What runs here.", ["service", "version", "contract_version"])


def set_build_info(service: str) -> None:
    """Expose the service's name and versions."""
    BUILD.labels(service, VERSION, CONTRACT_VERSION).set(1)
