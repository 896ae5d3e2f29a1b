"""The autoscaler's settings."""

from typing import Annotated

from pydantic import BeforeValidator, Field, PositiveInt
from pydantic_settings import NoDecode

from contracts.names import Queue
from contracts.settings import ConcurrencySettings

PODS_MAX = {Queue.ISSUES: 10, Queue.DEFAULT: 4}
"""Maximum pods of each queue's workers. All of them fit into the connections of the included PostgreSQL."""


def _parse_pods(value: object) -> object:
    """Return the default with the values of a text such as `issues=20,default=4`."""
    if not isinstance(value, str):
        return value
    pairs = [part.strip().partition("=") for part in value.split(",")]
    if not all(name in set(Queue) and number.isdecimal() for name, _, number in pairs):
        raise ValueError(
            f"must be pairs such as issues=10, separated by commas. The queues are {', '.join(Queue)}"
        )
    return {**PODS_MAX, **{Queue(name): number for name, _, number in pairs}}


class AutoscalerSettings(ConcurrencySettings):
    """Settings of the autoscaler, in addition to the shared ones."""

    autoscaler_pods: Annotated[dict[Queue, PositiveInt], NoDecode, BeforeValidator(_parse_pods)] = Field(
        default=PODS_MAX,
        description="Maximum pods per queue. "
        f"Default: `{','.join(f'{queue}={number}' for queue, number in PODS_MAX.items())}`.",
    )
