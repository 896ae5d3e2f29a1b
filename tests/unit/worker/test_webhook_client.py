"""One request to a receiver: which addresses, how long, over which TLS."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from app.ledger.errors import PermanentError, ProviderError
from app.settings import settings
from app.webhooks import client, signature
from contracts.ids import new_id
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
    """Change settings; a receiver is allowed in any case."""

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
        *("64:ff9b:1::7f00:1", "2002:7f00:1::", "2001:0:1:2::", "100::1"),
    ],
)
def test_what_is_not_the_internets(address: str) -> None:
    found = parse_ip_literal(address)
    assert found is not None
    assert not is_public(found)
    assert not AllowedTargets().permits("hooks.example.com", found)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_what_is(address: str) -> None:
    found = parse_ip_literal(address)
    assert found is not None
    assert is_public(found)


def test_what_an_operator_allows() -> None:
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


@pytest.mark.parametrize("written", ["10.0.0.1/8", "10.0.0/8", "300.1.1.1", "http://bot", "bot internal"])
def test_what_is_written_wrong_is_named(written: str) -> None:
    with pytest.raises(ValueError, match="network, an address or a host name"):
        AllowedTargets.parse(f"bot.internal,{written}")


def test_signatures_are_those_of_the_official_library(receiver: Receiver) -> None:
    secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]
    body, now = '{"type":"issue.enriched","data":{"title":"Straße"}}'.encode(), 1_700_000_000
    headers = signature.headers("a-delivery", now, body, secrets)

    expected = [signed_by(secret, "a-delivery", now, body) for secret in secrets]

    assert headers["webhook-signature"].split() == expected
    assert client.send(receiver.url, headers, body) == (204, None)
    assert receiver.received[0].body == body
    assert receiver.received[0].headers["content-type"] == "application/json"


def signed_by(secret: str, delivery_id: str, timestamp: int, body: bytes) -> str:
    return Webhook(secret).sign(delivery_id, datetime.fromtimestamp(timestamp, UTC), body.decode())


@pytest.mark.parametrize("status", [401, 403, 408, 425, 429, 500, 503])
def test_what_is_tried_again(status: int) -> None:
    with pytest.raises(ProviderError) as raised:
        client.raise_for_status(status, "120")
    assert raised.value.retry_after_s == 120


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 410, 422])
def test_what_is_not(status: int) -> None:
    with pytest.raises(PermanentError, match=f"status {status}"):
        client.raise_for_status(status, None)


def test_a_redirect_is_answered_and_not_followed(receiver: Receiver) -> None:
    receiver.statuses, receiver.headers = [307], {"location": receiver.url}
    assert client.send(receiver.url, {}, b"{}") == (307, None)
    assert len(receiver.received) == 1


def test_a_slow_receiver_is_given_up(receiver: Receiver, change: Change) -> None:
    answer = threading.Event()
    receiver.before_answer = lambda: answer.wait(30)
    change(webhook_timeout_seconds=0.3)

    with pytest.raises(ProviderError, match=r"no response within 0\.3 s"):
        client.send(receiver.url, {}, b"{}")

    answer.set()


def test_one_that_answers_byte_by_byte_is_given_up_too(change: Change) -> None:
    """A bound on each read alone would never end."""
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


def test_an_answer_without_an_end_is_not_read() -> None:
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
def test_what_speaks_no_http(answer: bytes) -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]

        def speak() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        threading.Thread(target=speak, daemon=True).start()
        with pytest.raises(ProviderError, match="no response"):
            client.send(f"http://{HOST}:{port}/", {}, b"{}")


def test_a_name_that_leads_nowhere() -> None:
    with pytest.raises(ProviderError, match="cannot be resolved"):
        client.send(f"http://{new_id()}.invalid/", {}, b"{}")
    with pytest.raises(ProviderError, match="cannot be resolved"):
        client.send(f"http://{'a' * 64}.example.com/", {}, b"{}")


@pytest.mark.parametrize(
    "host", ["localhost", "127.1", "2130706433", "0x7f.1", "0", "[::ffff:127.0.0.1]", "[::1]"]
)
def test_private_addresses_by_any_name(host: str) -> None:
    internal = Receiver("127.0.0.1")
    with pytest.raises(PermanentError, match="private address"):
        client.send(f"http://{host}:{internal.port}/", {}, b"{}")
    internal.close()
    assert internal.received == []


def test_a_name_that_leads_elsewhere_the_next_time(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that was looked at is the one that is connected to: it is looked up once."""
    answers = iter([HOST, "127.0.0.1"])
    look_up = socket.getaddrinfo
    asked = []

    def rebound(host: str, *arguments: Any, **options: Any) -> Any:
        if host != "hooks.example.com":
            return look_up(host, *arguments, **options)
        asked.append(host)
        return look_up(next(answers), *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebound)

    assert client.send(f"http://hooks.example.com:{receiver.port}/", {}, b"{}") == (204, None)

    assert len(asked) == 1
    assert receiver.received[0].headers["host"] == f"hooks.example.com:{receiver.port}"
    with pytest.raises(PermanentError, match="private address"):
        client.send(f"http://hooks.example.com:{receiver.port}/", {}, b"{}")


def test_certificates_are_checked_against_the_urls_name(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tmp_path / "hooks.crt", tmp_path / "hooks.key"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*made, *subject, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    _over_tls(receiver.server, context)
    named, by_address = f"https://localhost:{receiver.port}/", f"https://{HOST}:{receiver.port}/"
    _at(monkeypatch, "localhost")
    client._tls.cache_clear()
    try:
        with pytest.raises(ProviderError, match="CERTIFICATE_VERIFY_FAILED"):
            client.send(named, {}, b"{}")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        client._tls.cache_clear()
        assert client.send(named, {}, b"{}") == (204, None)
        with pytest.raises(ProviderError, match="CERTIFICATE_VERIFY_FAILED"):
            client.send(by_address, {}, b"{}")
    finally:
        client._tls.cache_clear()


def _over_tls(server: ThreadingHTTPServer, context: ssl.SSLContext) -> None:
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)


def _at(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let a name lead to the receiver, whose address no name has."""
    look_up = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **options: look_up(HOST if host == name else host, *rest, **options),
    )
