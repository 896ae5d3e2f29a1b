"""Reports the state of an API or exporter process to systemd."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from api.stop_signal import on_stop_signal
from contracts.systemd import READY, STOPPING, WATCHDOG, WATCHDOG_INTERVAL_S, notify


@asynccontextmanager
async def report_state() -> AsyncIterator[None]:
    """Report that the service is ready, then that its event loop runs, and that it stops.

    uvicorn opens its port after this report. The unit of the API passes an open socket to it instead.
    """
    watchdog = asyncio.create_task(_report_event_loop(), name="systemd-watchdog")
    try:
        with on_stop_signal(partial(notify, STOPPING)):
            notify(READY)
            yield
    finally:
        watchdog.cancel()


async def _report_event_loop() -> None:
    while True:
        notify(WATCHDOG)
        await asyncio.sleep(WATCHDOG_INTERVAL_S)
