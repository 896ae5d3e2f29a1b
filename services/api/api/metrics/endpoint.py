"""The metrics endpoint for Prometheus."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from contracts.network import METRICS_PATH

router = APIRouter(include_in_schema=False)


@router.get(METRICS_PATH)
async def metrics() -> Response:
    """Return the metrics."""
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
