"""The exporter's settings."""

from pydantic import Field

from api.settings import ApiSettings
from contracts.network import EXPORTER_PORT


class ExporterSettings(ApiSettings):
    """Settings of the exporter, in addition to the API's."""

    metrics_port: int = Field(default=EXPORTER_PORT, ge=1, le=65535, description="Port of the exporter's metrics.")
    metrics_address: str = Field(
        default="127.0.0.1", description="Address of that port. The images set `0.0.0.0`."
    )
