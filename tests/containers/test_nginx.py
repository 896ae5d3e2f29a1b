"""Conditional requests through the real nginx, which compresses responses and so weakens their entity tags."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.database import Database
from tests.support.docker import docker, log, needs_images
from tests.support.ports import free_port
from tests.support.processes import Api
from tests.support.waiting import wait_until

IMAGE = "nginx:stable"
pytestmark = needs_images(IMAGE)

# As in https://nginx.org/en/docs/http/ngx_http_gzip_module.html.
CONFIGURATION = """
events {{}}
http {{
    gzip on;
    gzip_min_length 0;
    gzip_proxied any;
    gzip_types application/json;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass {upstream}; }}
    }}
}}
"""


@pytest.fixture
def proxied(api: Api, tmp_path: Path) -> Iterator[httpx.Client]:
    """Yield a client of the API behind nginx."""
    port = free_port()
    upstream = str(api.client.base_url).rstrip("/")
    (tmp_path / "nginx.conf").write_text(CONFIGURATION.format(port=port, upstream=upstream))
    volume = f"--volume={tmp_path}/nginx.conf:/etc/nginx/nginx.conf:ro"
    name = docker("run", "--detach", "--rm", "--network=host", volume, IMAGE)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_until(lambda: _is_live(client), lambda: f"nginx to respond: {log(name)}")
            yield client
    finally:
        docker("rm", "--force", name)


def _is_live(client: httpx.Client) -> bool:
    try:
        return client.get("/livez").status_code == 200
    except httpx.TransportError:
        return False


def test_conditions_with_weakened_tags_work_behind_nginx(
    api: Api, proxied: httpx.Client, database: Database
) -> None:
    url = f"/api/v1/issues/{api.post('Behind nginx').json()['id']}"
    wait_until(lambda: database.states() == {"queued": 1}, "the job to be queued")

    got = proxied.get(url)
    tag = got.headers["etag"]
    assert (got.headers["content-encoding"], tag[:3]) == ("gzip", 'W/"'), got.headers

    assert proxied.get(url, headers={"If-None-Match": tag}).status_code == 304
    changed = proxied.patch(url, json={"priority": "low"}, headers={"If-Match": tag})
    assert changed.status_code == 200, changed.text
    assert proxied.patch(url, json={"title": "Late"}, headers={"If-Match": tag}).status_code == 412
    assert proxied.delete(url, headers={"If-Match": changed.headers["etag"]}).status_code == 204


def test_head_and_gzip_bodies_work_behind_nginx(proxied: httpx.Client) -> None:
    assert proxied.head("/").status_code == 200
    assert proxied.head("/api/v1/events").status_code == 200
