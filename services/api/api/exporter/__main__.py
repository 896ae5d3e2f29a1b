"""Run the exporter."""

import uvicorn

from api.exporter.app import create_app
from api.exporter.settings import ExporterSettings
from contracts.settings import load

settings = load(ExporterSettings)
uvicorn.run(
    create_app(settings),
    host=settings.metrics_address,
    port=settings.metrics_port,
    log_config=None,
    access_log=False,  # no log line per scrape
)
