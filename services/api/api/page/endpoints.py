"""Serve the page, the documentation of the API, and their static files."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

STATIC = Path(__file__).with_name("static")
_FRESH = {"Cache-Control": "no-cache"}


async def page() -> FileResponse:
    """Return the page."""
    return FileResponse(STATIC / "index.html", headers=_FRESH)


async def swagger_ui() -> FileResponse:
    """Return the documentation of the API, in which requests can be sent."""
    return FileResponse(STATIC / "docs.html", headers=_FRESH)


async def redoc() -> FileResponse:
    """Return the documentation of the API for reading."""
    return FileResponse(STATIC / "redoc.html", headers=_FRESH)


def install(app: FastAPI) -> None:
    """Add the page and the documentation to the application."""
    app.add_api_route("/", page, include_in_schema=False)
    app.add_api_route("/docs", swagger_ui, include_in_schema=False)
    app.add_api_route("/redoc", redoc, include_in_schema=False)
    # Swagger UI and Redoc. requirements/api.txt pins them by hash.
    app.mount("/static/vendor", StaticFiles(packages=[("fastapi_offline", "static")]), name="vendor")
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
