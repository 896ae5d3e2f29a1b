"""Serve the page and its static files."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

STATIC = Path(__file__).with_name("static")
_FRESH = {"Cache-Control": "no-cache"}


async def page() -> FileResponse:
    """Return the page."""
    return FileResponse(STATIC / "index.html", headers=_FRESH)


def install(app: FastAPI) -> None:
    """Add the page to the application."""
    app.add_api_route("/", page, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
