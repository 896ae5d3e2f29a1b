"""URLs of Redis that the services accept, and the form in which they use them."""

import pytest

from contracts.redis_url import normalize_redis_url


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("redis://:p,w@h:7/0", "redis://:p,w@h:7/0"),
        ("redis://[::1]:7", "redis://[::1]:7"),
        ("valkey://u:p@h", "redis://u:p@h"),
        ("rediss://h:7/0", "rediss://h:7/0?ssl_cert_reqs=required"),
        ("valkeys://h:7/0", "rediss://h:7/0?ssl_cert_reqs=required"),
        ("rediss://h?ssl_cert_reqs=CERT_NONE", "rediss://h?ssl_cert_reqs=none"),
        ("rediss://h?ssl_ca_certs=/etc/ca.pem", "rediss://h?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=required"),
    ],
)
def test_redis_url_is_normalized_for_celery(given: str, used: str) -> None:
    assert normalize_redis_url(given) == used
    assert normalize_redis_url(used) == used


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("redis+cluster://h:7/0", "Redis Cluster is not supported, because Celery cannot use it"),
        ("rediss+cluster://h:7", "Redis Cluster is not supported, because Celery cannot use it"),
        ("sentinel://h:7", "Redis Sentinel is not supported"),
        ("redis+sentinel://h:7/mymaster", "Redis Sentinel is not supported"),
        ("redis://:secret@h1:7,h2:7/0", "Several hosts are not supported"),
        ("redis://h/queue", "must be redis://:password@host:port/database"),
        ("redis+socket:///run/redis.sock", "must be redis://:password@host:port/database"),
        ("redis://h?ssl_ca_certs=/etc/ca.pem", "require rediss://"),
        ("rediss://h?ssl_cert_reqs=maybe", "ssl_cert_reqs must be required, optional or none"),
    ],
)
def test_redis_url_that_celery_cannot_use_is_rejected_without_its_password(url: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule) as caught:
        normalize_redis_url(url)
    assert "secret" not in str(caught.value)
