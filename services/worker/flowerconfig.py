"""Flower's settings; it reads this file from the directory that it is started in.

services/worker links to this file, so that the guide's command there gets the same settings. Flower has read
the environment (FLOWER_...) and the command line before; the command line wins over this file.
"""

import ast
import json
import os
import sys
from datetime import UTC, datetime
from logging import Formatter, LogRecord, StreamHandler, getLogger
from typing import Any

from tornado.options import options

LOOPBACK = ("127.0.0.1", "::1", "localhost")
SHOWN_ELSEWHERE = ("contract_version", "job_id", "traceparent")
"""The job's id is the task's UUID, the traceparent is for machines. No message carries an issue's text."""
SHOWN = 100
"""Characters of arguments and results."""

# Flower's own default is every address of the machine.
address = options.address or LOOPBACK[0]
exposed = address not in LOOPBACK
if exposed and not (options.basic_auth or options.auth):
    sys.exit(
        f"flower: not starting on {address} without credentials: set FLOWER_BASIC_AUTH=user:password, "
        "or leave FLOWER_ADDRESS unset to listen on this machine only"
    )
# Workers can be stopped and tasks revoked from its page: not from where others can reach it, unless asked for.
read_only = options.read_only or (exposed and "FLOWER_READ_ONLY" not in os.environ)
# Containers come and go under new names.
purge_offline_workers = 600
max_tasks = 10_000
tasks_columns = "name,uuid,state,kwargs,received,runtime,retries,worker"


def format_task(task: Any) -> Any:
    """Return what the page shows of a task: of its message what is not shown elsewhere, all of it short."""
    try:
        message = ast.literal_eval(task.kwargs)
        task.kwargs = ", ".join(f"{name}={message[name]}" for name in message if name not in SHOWN_ELSEWHERE)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass  # not a message of ours, or cut off by Celery
    for name in ("args", "kwargs", "result"):
        text = str(getattr(task, name) or "")
        if len(text) > SHOWN:
            setattr(task, name, text[:SHOWN] + "…")
    return task


class JsonLines(Formatter):
    """Writes a line as the other services do; here by hand, since nothing else of theirs is in Flower's image."""

    def format(self, record: LogRecord) -> str:
        """Return the record as one JSON object."""
        line = {
            "service": "flower",
            "event": record.getMessage(),
            "logger": record.name,
            "level": record.levelname.lower(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


if os.environ.get("LOG_FORMAT") == "json":
    lines = StreamHandler()
    lines.setFormatter(JsonLines())
    getLogger().handlers = [lines]
