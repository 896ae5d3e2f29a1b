"""Entry point of the application for uvicorn: `python -m uvicorn main:app`."""

from api.app import create_app
from contracts.logs import log_unhandled

log_unhandled()
app = create_app()
