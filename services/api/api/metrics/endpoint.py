"""Answers Prometheus."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from contracts.network import METRICS_PATH

router = APIRouter(include_in_schema=False)


@router.get(METRICS_PATH)
async def metrics() -> Response:
    """Answer a scrape."""
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
