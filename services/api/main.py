"""Where uvicorn finds the application: `python -m uvicorn main:app`."""

from api.app import create_app

app = create_app()
