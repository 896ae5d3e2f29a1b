"""Exceptions in log lines: their location, without messages that may contain data."""

import logging

import pytest

from contracts.faults import CHAIN_MAX, FRAMES_MAX, safe_message, safe_traceback
from contracts.logs import _hide_exception_messages, _make_safe

TEXT = "Zyzzyva"


def recurse(depth: int) -> None:
    if depth == 0:
        raise ValueError(TEXT)
    recurse(depth - 1)


def test_safe_message_contains_only_messages_without_data() -> None:
    assert safe_message(ValueError(TEXT)) == "ValueError"
    assert safe_message(ConnectionRefusedError(111, "Connection\nrefused")) == (
        "ConnectionRefusedError: [Errno 111] Connection refused"
    )
    assert safe_message(TimeoutError()) == "TimeoutError"


def test_safe_traceback_contains_causes_and_bounded_frames() -> None:
    try:
        try:
            recurse(2 * FRAMES_MAX)
        except ValueError as error:
            raise RuntimeError(TEXT) from error
    except RuntimeError as error:
        text = safe_traceback(error)

    assert TEXT not in text
    outer, inner = text.split("\ncaused by ")
    assert outer.splitlines()[0] == "RuntimeError"
    assert inner.splitlines()[0] == "ValueError"
    assert len(inner.splitlines()) == 1 + FRAMES_MAX
    assert __file__ in inner


def test_safe_traceback_of_cyclic_chain_is_bounded() -> None:
    error = ValueError(TEXT)
    error.__context__ = other = KeyError(TEXT)
    other.__context__ = error
    assert safe_traceback(error).count("caused by") == CHAIN_MAX - 1


def test_log_record_formatted_by_library_hides_exception_message() -> None:
    for message, args in (("failed: %s", (ValueError(TEXT),)), (ValueError(TEXT), ())):
        record = logging.LogRecord("a", logging.ERROR, "", 0, message, args, None)
        _hide_exception_messages(record)
        assert TEXT not in record.getMessage()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("redis://:Zyzzyva@host:6379/0", "redis://:***@host:6379/0"),
        ("at postgresql://me:Zyzzyva@host/db, again", "at postgresql://me:***@host/db, again"),
        ("postgresql://me:Zyzz@yva@host/db", "postgresql://me:***@host/db"),
        ("http://host:8000/a@b", "http://host:8000/a@b"),
        ("mail a:b@c", "mail a:b@c"),
    ],
)
def test_safe_text_with_password_in_address_is_masked(address: str, expected: str) -> None:
    assert _make_safe(address) == expected
