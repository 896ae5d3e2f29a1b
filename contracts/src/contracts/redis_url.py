"""The URLs of Redis and Valkey that both Celery and redis-py accept.

Only with the standard library, because the image of Flower contains this file without the rest of the contracts.
"""

import re
from urllib.parse import parse_qsl, urlencode, urlsplit

FORM = "redis://:password@host:port/database"
CLUSTER_NODE = (
    "The server is a node of a Redis Cluster, which Celery cannot use. Use a server without cluster mode."
)

_SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss"}
_OTHER_SYSTEMS = {
    "cluster": "Redis Cluster is not supported, because Celery cannot use it",
    "sentinel": "Redis Sentinel is not supported",
}


def normalize_redis_url(value: str) -> str:
    """Return the URL with the scheme `redis` or `rediss`; raise ValueError if Celery cannot use it.

    With `rediss` the certificate is verified, by default with the system's authorities.
    """
    scheme, _, rest = value.partition("://")
    scheme = scheme.lower()
    for name, reason in _OTHER_SYSTEMS.items():
        if name in scheme:
            raise ValueError(f"{scheme}:// is not valid. {reason}. Use {FORM}")
    if "," in rest.rpartition("@")[2].partition("/")[0]:
        raise ValueError(f"Several hosts are not supported. Use {FORM}")
    if scheme not in _SCHEMES or not _is_valid(rest):
        raise ValueError(f"The value must be {FORM}")
    url = urlsplit(f"{_SCHEMES[scheme]}://{rest}")
    options = _normalize_options(url.scheme, dict(parse_qsl(url.query)))
    return url._replace(query=urlencode(options, safe="/:")).geturl()


def _is_valid(location: str) -> bool:
    try:
        url = urlsplit(f"//{location}")
        return bool(url.hostname) and url.port != 0 and re.fullmatch(r"(/[0-9]*)?", url.path) is not None
    except ValueError:
        return False


def _normalize_options(scheme: str, options: dict[str, str]) -> dict[str, str]:
    """Return the options of the query. Celery requires `ssl_cert_reqs`; redis-py accepts only its short values."""
    if scheme == "redis":
        if any(name.startswith("ssl_") for name in options):
            raise ValueError("The options ssl_... require rediss://")
        return options
    check = options.get("ssl_cert_reqs", "required").removeprefix("CERT_").lower()
    if check not in {"required", "optional", "none"}:
        raise ValueError("ssl_cert_reqs must be required, optional or none")
    return {**options, "ssl_cert_reqs": check}
