"""Exceptions in log lines: where, and only what can hold no data."""

import logging

import pytest

from contracts.faults import CHAIN_MAX, FRAMES_MAX, safe_message, safe_traceback
from contracts.logs import _hide_exception_messages, _safe

TEXT = "Zyzzyva"


def recurse(depth: int) -> None:
    if depth == 0:
        raise ValueError(TEXT)
    recurse(depth - 1)


def test_a_message_is_told_only_where_it_can_hold_no_data() -> None:
    assert safe_message(ValueError(TEXT)) == "ValueError"
    assert safe_message(ConnectionRefusedError(111, "Connection\nrefused")) == (
        "ConnectionRefusedError: [Errno 111] Connection refused"
    )
    assert safe_message(TimeoutError()) == "TimeoutError"


def test_causes_are_told_with_their_frames() -> None:
    try:
        try:
            recurse(2 * FRAMES_MAX)
        except ValueError as error:
            raise RuntimeError(TEXT) from error
    except RuntimeError as error:
        whole = safe_traceback(error)

    assert TEXT not in whole
    outer, inner = whole.split("\ncaused by ")
    assert outer.splitlines()[0] == "RuntimeError"
    assert inner.splitlines()[0] == "ValueError"
    assert len(inner.splitlines()) == 1 + FRAMES_MAX
    assert __file__ in inner


def test_a_chain_without_an_end_has_one_here() -> None:
    error = ValueError(TEXT)
    error.__context__ = other = KeyError(TEXT)
    other.__context__ = error
    assert safe_traceback(error).count("caused by") == CHAIN_MAX - 1


def test_exceptions_that_a_library_formats() -> None:
    for message, args in (("failed: %s", (ValueError(TEXT),)), (ValueError(TEXT), ())):
        record = logging.LogRecord("a", logging.ERROR, "", 0, message, args, None)
        _hide_exception_messages(record)
        assert TEXT not in record.getMessage()


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("redis://:Zyzzyva@host:6379/0", "redis://:***@host:6379/0"),
        ("at postgresql://me:Zyzzyva@host/db, again", "at postgresql://me:***@host/db, again"),
        ("postgresql://me:Zyzz@yva@host/db", "postgresql://me:***@host/db"),
        ("http://host:8000/a@b", "http://host:8000/a@b"),
        ("mail a:b@c", "mail a:b@c"),
    ],
)
def test_passwords_in_addresses_are_masked(written: str, shown: str) -> None:
    assert _safe(written) == shown
