"""Find the source system and the id of an issue in its URL."""

import re
from dataclasses import dataclass

# https://docs.github.com/en/rest/issues/issues: html_url and url; https://docs.gitlab.com/api/issues/: web_url.
_GITHUB = re.compile(
    r"https?://(?:(?:www\.)?github\.com|(?P<api>api\.github\.com/repos))/(?P<path>[^/?#]+/[^/?#]+)"
    r"/(?:issues|pulls?)/(?P<id>\d+)/?(?:[?#].*)?",
    re.IGNORECASE,
)
_GITLAB = re.compile(
    r"https?://(?:(?:www\.)?gitlab\.com/)?(?P<path>[^/?#]+/[^?#]+?)/(?:-/)?(?:issues|work_items)/(?P<id>\d+)/?(?:[?#].*)?",
    re.IGNORECASE,
)
"""Its path begins with the host of a server other than gitlab.com."""
_GITLAB_COM = re.compile(r"https?://(?:www\.)?gitlab\.com/", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Link:
    """An issue of GitHub or GitLab."""

    source: str
    """Such as `github:acme/shop`, or `gitlab:git.corp.example/acme/shop`."""
    id: str
    url: str
    """The page of the issue; the URL itself, unless that is the API's."""


def read_link(url: str | None) -> Link | None:
    """Return the issue at github.com or gitlab.com with this URL, else None."""
    if url is None:
        return None
    if found := _GITHUB.fullmatch(url.strip()):
        path = found["path"]
        page = f"https://github.com/{path}/issues/{found['id']}" if found["api"] else url.strip()
        return Link(f"github:{path.lower()}", found["id"], page)
    return read_gitlab_link(url) if _GITLAB_COM.match(url.strip()) else None


def read_gitlab_link(url: str | None) -> Link | None:
    """Return the issue of GitLab with this URL, at gitlab.com or another server, else None."""
    if url is not None and (found := _GITLAB.fullmatch(url.strip())):
        return Link(f"gitlab:{found['path'].lower()}", found["id"], url.strip())
    return None
