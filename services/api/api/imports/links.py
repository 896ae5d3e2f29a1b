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
    r"https?://(?:www\.)?gitlab\.com/(?P<path>[^?#]+?)/(?:-/)?(?:issues|work_items)/(?P<id>\d+)/?(?:[?#].*)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Link:
    """An issue of a public tracker."""

    source: str
    """Such as `github:acme/shop`."""
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
    if found := _GITLAB.fullmatch(url.strip()):
        return Link(f"gitlab:{found['path'].lower()}", found["id"], url.strip())
    return None
