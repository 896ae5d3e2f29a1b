"""Flower's settings. Flower reads this file from its working directory.

services/worker has a link to this file, so that the command in the guide uses the same settings. Flower reads the
environment (FLOWER_...) and the command line first. The command line overrides this file.
"""

import ast
import json
import os
import sys
from datetime import UTC, datetime
from logging import Formatter, LogRecord, StreamHandler, getLogger
from pathlib import Path
from typing import Any

from tornado.options import options

LOOPBACK = ("127.0.0.1", "::1", "localhost")
HIDDEN_FIELDS = ("contract_version", "job_id", "traceparent")
"""Fields that are not shown: the job's id equals the task's UUID, and the traceparent is for machines."""
SHOWN = 100
"""Maximum characters of arguments and results."""


def read_secret(name: str) -> str | None:
    """Return a setting of the environment, or of the file with its name in CREDENTIALS_DIRECTORY."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if name in os.environ or not directory or not (file := Path(directory, name)).exists():
        return os.environ.get(name)
    return file.read_text().strip()


# Without an application, Celery reads the broker's URL from the environment.
if broker_url := read_secret("CELERY_BROKER_URL"):
    os.environ["CELERY_BROKER_URL"] = broker_url
credentials = read_secret("FLOWER_BASIC_AUTH")
basic_auth = options.basic_auth or ([credentials] if credentials else [])
# Flower's own default is all addresses of the machine.
address = options.address or LOOPBACK[0]
exposed = address not in LOOPBACK
if exposed and not (basic_auth or options.auth):
    sys.exit(
        f"flower: the address {address} needs credentials. Set FLOWER_BASIC_AUTH=user:password, "
        "or unset FLOWER_ADDRESS to listen on this machine only."
    )
# Flower's page can stop workers and revoke tasks. If others can reach the page, this is off by default.
read_only = options.read_only or (exposed and "FLOWER_READ_ONLY" not in os.environ)
# In seconds. Restarted containers have new names, so Flower removes the old ones.
purge_offline_workers = 600
max_tasks = 10_000
tasks_columns = "name,uuid,state,kwargs,received,runtime,retries,worker"


def format_task(task: Any) -> Any:
    """Return the task for Flower's page, with shortened values and only the relevant fields of its message."""
    try:
        message = ast.literal_eval(task.kwargs)
        task.kwargs = ", ".join(f"{name}={message[name]}" for name in message if name not in HIDDEN_FIELDS)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass  # not one of our messages, or truncated by Celery
    for name in ("args", "kwargs", "result"):
        text = str(getattr(task, name) or "")
        if len(text) > SHOWN:
            setattr(task, name, text[:SHOWN] + "…")
    return task


class JsonLines(Formatter):
    """Writes log lines in the format of the other services, whose code is not in Flower's image."""

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
