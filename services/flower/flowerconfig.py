"""Flower's settings. Flower reads this file from its working directory.

services/worker has a link to this file, so that the command in the guide uses the same settings. Flower reads the
environment (FLOWER_...) and the command line first. The command line overrides this file.
"""

import ast
import json
import os
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime
from logging import Formatter, LogRecord, StreamHandler, getLogger
from pathlib import Path
from typing import Any, NoReturn

from celery import current_app
from flower.app import Flower
from flower.urls import settings
from redis import Redis
from redis.exceptions import RedisError
from tornado.httputil import HTTPServerRequest
from tornado.options import options
from tornado.template import Loader, Template
from tornado.web import Application, ErrorHandler

try:
    from contracts.redis_url import CLUSTER_NODE, normalize_redis_url
except ImportError:
    # Flower's image has only this module of the contracts.
    sys.path.append(str(Path(__file__).parent))
    from redis_url import CLUSTER_NODE, normalize_redis_url  # type: ignore[import-not-found, no-redef]

LOOPBACK = ("127.0.0.1", "::1", "localhost")
HIDDEN_FIELDS = ("contract_version", "job_id", "traceparent")
"""Fields that are not shown: the job's id equals the task's UUID, and the traceparent is for machines."""
SHOWN = 100
"""Maximum characters of arguments and results."""
TASK_PAGE = """
{% extends "flower-task.html" %}
{% block navbar %}
  {% module Template("navbar.html", active_tab="tasks") %}
  <nav class="container-fluid pt-3 px-4" aria-label="IssueTracker">
    {% for text, url in getattr(task, "links", ()) %}
    <a class="btn btn-outline-primary btn-sm" href="{{ url }}">{{ text }}</a>
    {% end %}
  </nav>
{% end %}
"""
TASKS_PAGE = """
{% extends "flower-tasks.html" %}
{% block extra_scripts %}
<script>
  $("#tasks-table").on("draw.dt", function () {
    $(this).DataTable().rows({page: "current"}).every(function () {
      const task = this.data(), issue = /^issue_id=([0-9a-f-]{36})/.exec(task.kwargs);
      const append = (text, query) =>
        $("<a>", {text, href: PAGE_URL + query, class: "ms-2 small fw-normal"}).appendTo(this.node().cells[0]);
      if (issue) append("Issue", "/?issue=" + issue[1]);
      if (task.state === "FAILURE") append("Dead letters", "/?view=dead");
    });
  });
</script>
{% end %}
"""


def read_secret(name: str) -> str | None:
    """Return a setting of the environment, or of the file with its name in CREDENTIALS_DIRECTORY."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if name in os.environ or not directory or not (file := Path(directory, name)).exists():
        return os.environ.get(name)
    return file.read_text().strip()


def fail(message: str) -> NoReturn:
    """Print one line and exit, as the other services do for a bad setting."""
    print(f"flower: bad setting: {message}", file=sys.stderr)
    sys.exit(2)


def check_broker(url: str) -> str:
    """Return the URL in the form that Celery accepts; exit if it names something that Celery cannot use."""
    try:
        url = normalize_redis_url(url)
    except ValueError as error:
        fail(f"CELERY_BROKER_URL: {error}.")
    with Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client, suppress(RedisError, OSError):
        if client.info("cluster").get("cluster_enabled"):
            fail(f"CELERY_BROKER_URL: {CLUSTER_NODE}")
    return url


# Without an application, Celery reads the broker's URL from the environment.
if broker_url := read_secret("CELERY_BROKER_URL"):
    os.environ["CELERY_BROKER_URL"] = broker_url
# The variable in the image, and the worker's setting in its directory. Celery reads the variable when it connects.
if broker := current_app.conf.broker_url:
    os.environ["CELERY_BROKER_URL"] = check_broker(broker)

# Kombu redelivers the unacknowledged messages of any consumer. Flower must not do that with jobs.
current_app.conf.broker_transport_options = {
    **current_app.conf.broker_transport_options,
    **{f"{name}_key": f"flower.{name}" for name in ("unacked", "unacked_index", "unacked_mutex")},
}
# The queue that Flower shows while it knows no worker.
current_app.conf.task_default_queue = "default"

credentials = read_secret("FLOWER_BASIC_AUTH")
basic_auth = options.basic_auth or ([credentials] if credentials else [])
# Flower's own default is all addresses of the machine.
address = options.address or LOOPBACK[0]
exposed = address not in LOOPBACK
if exposed and not (basic_auth or options.auth):
    fail(
        f"FLOWER_ADDRESS: {address} needs credentials. Set FLOWER_BASIC_AUTH=user:password, "
        "or unset FLOWER_ADDRESS to listen on this machine only."
    )
# The workers accept no remote control command that changes something.
read_only = True
# In seconds. Restarted containers have new names, so Flower removes the old ones.
purge_offline_workers = 600
max_tasks = 10_000
page_url = os.environ.get("ISSUETRACKER_URL", "").rstrip("/") or "http://127.0.0.1:8000"
if not re.fullmatch(r"https?://[^\s/]\S*", page_url):
    fail(f"ISSUETRACKER_URL: {page_url} is not valid. Use http(s)://host:port.")
tasks_columns = "name,uuid,state,kwargs,received,runtime,retries,worker"


def find_handler(self: Flower, request: HTTPServerRequest, **kwargs: Any) -> Any:
    """Find the handler of a request.

    Without credentials, the Host header must name this machine, which stops DNS rebinding.
    """
    if not (basic_auth or options.auth or request.host_name.strip("[]") in LOOPBACK):
        return self.get_handler_delegate(request, ErrorHandler, {"status_code": 403})
    return Application.find_handler(self, request, **kwargs)


Flower.find_handler = find_handler


def extend_page(loader: Loader, name: str, text: str) -> None:
    """Replace a page of Flower by one that extends it under the name `flower-...`."""
    loader.templates[f"flower-{name}"] = loader.load(name)
    loader.templates[name] = Template(text, name, loader)


loader = settings["template_loader"] = Loader(settings["template_path"])
extend_page(loader, "task.html", TASK_PAGE)
extend_page(loader, "tasks.html", TASKS_PAGE.replace("PAGE_URL", json.dumps(page_url).replace("<", "\\u003c")))


def format_task(task: Any) -> Any:
    """Return the task as Flower shows it: with links, shortened values and only some fields of its message."""
    task.links = [("Dead letters", f"{page_url}/?view=dead")] if task.state == "FAILURE" else []
    try:
        message = ast.literal_eval(task.kwargs)
        # The id is first, so that it is not cut.
        shown = sorted(message.keys() - HIDDEN_FIELDS, key=lambda name: (name != "issue_id", name))
        task.kwargs = ", ".join(f"{name}={message[name]}" for name in shown)
        if "issue_id" in message:
            task.links.insert(0, ("Issue", f"{page_url}/?issue={message['issue_id']}"))
    except (ValueError, SyntaxError, AttributeError, TypeError, MemoryError, RecursionError):
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
