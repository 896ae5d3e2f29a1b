"""The exporter's settings."""

from pydantic import Field

from api.settings import ApiSettings
from contracts.network import EXPORTER_PORT


class ExporterSettings(ApiSettings):
    """What the exporter reads besides the API's settings: of those it needs to know QUEUE_BOUND."""

    metrics_port: int = Field(default=EXPORTER_PORT, ge=1, le=65535)
    metrics_address: str = "127.0.0.1"
    """Where it listens; the image sets every address of its container."""
