"""One webhook request: permitted addresses, time limits and TLS."""

import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook

from api.webhooks.schemas import WebhookCreate
from app.ledger.errors import PermanentError, ProviderError
from app.settings import settings
from app.webhooks import client, signature
from contracts import webhook_targets
from contracts.ids import new_id
from contracts.states import WebhookEvent
from contracts.webhook_targets import AllowedTargets, is_public, parse_ip_literal
from tests.support.receiver import HOST, Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


Change = Callable[..., None]


@pytest.fixture(autouse=True)
def change(monkeypatch: pytest.MonkeyPatch) -> Change:
    """Change settings. The test receiver is always allowed."""

    def change(**changes: Any) -> None:
        allowed = {"webhook_allow": AllowedTargets.parse(HOST)}
        monkeypatch.setattr(client, "settings", settings.model_copy(update=allowed | changes))

    change()
    return change


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.9.10", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
        *("169.254.169.254", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
        *("64:ff9b:1::7f00:1", "2002:7f00:1::", "2001:0:1:2::", "100::1", "100:0:0:1::1", "5f00::1"),
        *("192.0.0.1", "192.0.0.9", "192.0.0.192", "192.88.99.1", "203.0.113.7", "198.51.100.7"),
        *("3fff::1", "3fff:fff:ffff::1", "2001:2::1", "2001:1ff::1", "2002:c058:6301::", "64:ff9b::c000:c0"),
    ],
)
def test_webhook_target_with_private_address_is_not_permitted(address: str) -> None:
    found = parse_ip_literal(address)
    assert found is not None
    assert not is_public(found)
    assert not AllowedTargets().permits("hooks.example.com", found)


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "8.8.8.8", "192.0.1.1", "192.88.98.1", "198.20.0.1", "223.255.255.255", "2606:4700::1111"),
        *("::ffff:8.8.8.8", "64:ff9b::808:808", "2001:200::1", "3000::1"),
    ],
)
def test_webhook_target_with_public_address_is_public(address: str) -> None:
    found = parse_ip_literal(address)
    assert found is not None
    assert is_public(found)


def test_special_addresses_are_private_on_every_installed_python() -> None:
    """The tables of the interpreters differ, so the result must not depend on them."""
    code = (
        "from ipaddress import ip_address; from contracts.webhook_targets import is_public; "
        "print([is_public(ip_address(a)) for a in ('192.0.0.192', '192.88.99.1', '3fff::1', '1.1.1.1')])"
    )
    found = filter(None, (shutil.which(f"python3.{minor}") for minor in range(11, 16)))
    env = {"PYTHONPATH": str(Path(webhook_targets.__file__).parents[1])}
    runs = [
        subprocess.run([python, "-c", code], capture_output=True, text=True, env=env, check=False)
        for python in [sys.executable, *found]
    ]

    # A shim of an interpreter that is not selected fails.
    assert {run.stdout for run in runs if not run.returncode} == {"[False, False, False, True]\n"}


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.1.", "127.0.0.256", "1.2.3.4.5"),
        *("", ":80", "hooks.example.com:0", "hooks.example.com:65536", "hooks.example.com:", "[::1%25eth0]"),
        *("%31%32%37.0.0.1", "hooks.example.com\\.internal", "[::1", "a,b", "hooks example.com", "-a.example.com"),
    ],
)
def test_url_with_ambiguous_host_is_rejected(host: str) -> None:
    with pytest.raises(ValidationError):
        WebhookCreate(url=f"http://{host}/", events=[WebhookEvent.ISSUE_ENRICHED])


@pytest.mark.parametrize(
    "host",
    [
        "hooks.example.com",
        "hooks.example.com.",
        "hooks",
        "1.1.1.1:8080",
        "[2606:4700::1111]:443",
        "xn--bcher-kva.example",
    ],
)
def test_url_with_plain_host_is_accepted(host: str) -> None:
    assert WebhookCreate(url=f"https://{host}/", events=[WebhookEvent.ISSUE_ENRICHED]).url == f"https://{host}/"


def test_allowed_targets_permit_listed_networks_addresses_and_hosts() -> None:
    allowed = AllowedTargets.parse("10.0.0.0/8, fd00::/8,Bot.internal, 192.168.1.7")
    for host, address, expected in (
        ("anything", "10.9.8.7", True),
        ("anything", "::ffff:10.9.8.7", True),
        ("anything", "fd00::1", True),
        ("anything", "192.168.1.7", True),
        ("anything", "192.168.1.8", False),
        ("BOT.internal", "172.16.0.1", True),
        ("bot.internal.example.com", "172.16.0.1", False),
    ):
        found = parse_ip_literal(address)
        assert found is not None
        assert allowed.permits(host, found) is expected, (host, address)


@pytest.mark.parametrize("value", ["10.0.0.1/8", "10.0.0/8", "300.1.1.1", "http://bot", "bot internal"])
def test_allowed_targets_with_invalid_entry_raise_value_error(value: str) -> None:
    with pytest.raises(ValueError, match="network, an address or a host name"):
        AllowedTargets.parse(f"bot.internal,{value}")


def test_webhook_signatures_equal_official_library(receiver: Receiver) -> None:
    secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]
    body, now = '{"type":"issue.enriched","data":{"title":"Straße"}}'.encode(), 1_700_000_000
    headers = signature.build_headers("a-delivery", now, body, secrets)

    expected = [sign(secret, "a-delivery", now, body) for secret in secrets]

    assert headers["webhook-signature"].split() == expected
    assert client.send(receiver.url, headers, body) == (204, None)
    assert receiver.received[0].body == body
    assert receiver.received[0].headers["content-type"] == "application/json"


def sign(secret: str, delivery_id: str, timestamp: int, body: bytes) -> str:
    return Webhook(secret).sign(delivery_id, datetime.fromtimestamp(timestamp, UTC), body.decode())


@pytest.mark.parametrize("status", [401, 403, 408, 425, 429, 500, 503])
def test_webhook_with_temporary_status_raises_provider_error(status: int) -> None:
    with pytest.raises(ProviderError) as raised:
        client.raise_for_status(status, "120")
    assert raised.value.retry_after_s == 120


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 410, 422])
def test_webhook_with_permanent_status_raises_permanent_error(status: int) -> None:
    with pytest.raises(PermanentError, match=f"status {status}"):
        client.raise_for_status(status, None)


def test_webhook_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.statuses, receiver.headers = [307], {"location": receiver.url}
    assert client.send(receiver.url, {}, b"{}") == (307, None)
    assert len(receiver.received) == 1


def test_webhook_to_slow_receiver_times_out(receiver: Receiver, change: Change) -> None:
    answer = threading.Event()
    receiver.before_response = lambda: answer.wait(30)
    change(webhook_timeout_seconds=0.3)

    with pytest.raises(ProviderError, match=r"no response within 0\.3 s"):
        client.send(receiver.url, {}, b"{}")

    answer.set()


def test_webhook_to_receiver_sending_single_bytes_times_out(change: Change) -> None:
    """A limit per read would never expire."""
    done = threading.Event()
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
                while not done.wait(0.05):
                    connection.sendall(b"x")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        change(webhook_timeout_seconds=0.5)

        with pytest.raises(ProviderError, match=r"no response within 0\.5 s"):
            client.send(f"http://{HOST}:{port}/", {}, b"{}")
        done.set()


def test_webhook_with_endless_response_body_is_not_read() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]

        def flood() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n")
                try:
                    while True:
                        connection.sendall(b"x" * 65536)
                except OSError:
                    return

        threading.Thread(target=flood, daemon=True).start()
        assert client.send(f"http://{HOST}:{port}/", {}, b"{}") == (200, None)


@pytest.mark.parametrize("answer", [b"", b"220 mail.example.com ESMTP\r\n", b"HTTP/1.1 2000 \r\n\r\n"])
def test_webhook_to_non_http_server_raises_provider_error(answer: bytes) -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]

        def send_answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        threading.Thread(target=send_answer, daemon=True).start()
        with pytest.raises(ProviderError, match="no response"):
            client.send(f"http://{HOST}:{port}/", {}, b"{}")


def test_webhook_to_unknown_host_raises_provider_error() -> None:
    with pytest.raises(ProviderError, match="cannot be resolved"):
        client.send(f"http://{new_id()}.invalid/", {}, b"{}")
    with pytest.raises(ProviderError, match="cannot be resolved"):
        client.send(f"http://{'a' * 64}.example.com/", {}, b"{}")


@pytest.mark.parametrize(
    "host", ["localhost", "127.1", "2130706433", "0x7f.1", "0", "[::ffff:127.0.0.1]", "[::1]"]
)
def test_webhook_to_private_address_in_any_notation_is_rejected(host: str) -> None:
    internal = Receiver("127.0.0.1")
    with pytest.raises(PermanentError, match="private address"):
        client.send(f"http://{host}:{internal.port}/", {}, b"{}")
    internal.close()
    assert internal.received == []


def test_webhook_with_dns_rebinding_connects_to_checked_address(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client resolves the name once and connects to the address that it checked."""
    answers = iter([HOST, "127.0.0.1"])
    look_up = socket.getaddrinfo
    lookups = []

    def resolve(host: str, *arguments: Any, **options: Any) -> Any:
        if host != "hooks.example.com":
            return look_up(host, *arguments, **options)
        lookups.append(host)
        return look_up(next(answers), *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    assert client.send(f"http://hooks.example.com:{receiver.port}/", {}, b"{}") == (204, None)

    assert len(lookups) == 1
    assert receiver.received[0].headers["host"] == f"hooks.example.com:{receiver.port}"
    with pytest.raises(PermanentError, match="private address"):
        client.send(f"http://hooks.example.com:{receiver.port}/", {}, b"{}")


def test_webhook_tls_certificate_is_checked_against_host_name(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tmp_path / "hooks.crt", tmp_path / "hooks.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *subject, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    _enable_tls(receiver.server, context)
    url_by_name, url_by_address = f"https://localhost:{receiver.port}/", f"https://{HOST}:{receiver.port}/"
    _resolve_to_receiver(monkeypatch, "localhost")
    client._tls.cache_clear()
    try:
        with pytest.raises(ProviderError, match="CERTIFICATE_VERIFY_FAILED"):
            client.send(url_by_name, {}, b"{}")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        client._tls.cache_clear()
        assert client.send(url_by_name, {}, b"{}") == (204, None)
        with pytest.raises(ProviderError, match="CERTIFICATE_VERIFY_FAILED"):
            client.send(url_by_address, {}, b"{}")
    finally:
        client._tls.cache_clear()


def _enable_tls(server: ThreadingHTTPServer, context: ssl.SSLContext) -> None:
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)


def _resolve_to_receiver(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Resolve a name to the address of the receiver."""
    look_up = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **options: look_up(HOST if host == name else host, *rest, **options),
    )
