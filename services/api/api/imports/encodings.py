"""Decode a file: by its byte order mark, by its declared character set, as UTF-8, or by a certain detection."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import islice

from charset_normalizer import from_bytes
from charset_normalizer.constant import IANA_SUPPORTED
from fastapi import HTTPException

from api.problems import invalid
from contracts.validation import format_value

_CHUNK = 256 * 1024
"""Bytes that are decoded at a time."""
_SAMPLE = 8 * 1024
"""Bytes of lines that are not ASCII, from which the encoding is detected."""
_COHERENCE_MIN = 0.5
_COHERENCE_LEAD = 0.2
"""A detection is certain if its text is that likely in some language, and much likelier than any other text."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# https://encoding.spec.whatwg.org/#names-and-labels: senders that declare Latin-1 mean Windows-1252.
_LABELS = {"ascii": "utf-8", "iso8859-1": "cp1252", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
_CODECS = frozenset(IANA_SUPPORTED) - {"utf_7"}
"""Codecs of character sets. Python has others, such as punycode, which is quadratic."""
_SUPPORTED = {codecs.lookup(name).name for name in _CODECS} | {encoding for _, encoding in _MARKS}


@dataclass(frozen=True, slots=True)
class Decoded:
    """A file in UTF-8 without a byte order mark, and the encoding that it had."""

    body: bytes
    encoding: str


class _UndecodableError(Exception):
    """A place in a file that is not text in the encoding."""

    def __init__(self, line: int, byte: int, value: int) -> None:
        super().__init__()
        self.line, self.byte, self.value = line, byte, value


def decode(body: bytes, charset: str | None) -> Decoded:
    """Return the file in UTF-8. `charset` is its declared character set; a byte order mark takes precedence.

    Raise a 415 error for an unknown character set, and a 422 error with line and byte for other text.
    """
    declared = _lookup(charset) if charset else None
    for mark, marked in _MARKS:
        if body.startswith(mark):
            return _decode_as(body[len(mark) :], marked)
    if declared or (declared := _guess_utf16(body)):
        return _decode_as(body, declared)
    try:
        return Decoded(_transcode(body, "utf-8"), "utf-8")
    except _UndecodableError as error:
        if detected := _detect(body):
            return _decode_as(body, detected)
        raise _explain(error, "utf-8") from None


def _lookup(charset: str) -> str:
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        name = ""
    encoding = _LABELS.get(name, name)
    if encoding not in _SUPPORTED:
        detail = f"The character set {format_value(charset)} is not supported. Use utf-8, utf-16 or windows-1252."
        raise HTTPException(415, detail)
    return encoding


def _decode_as(body: bytes, encoding: str) -> Decoded:
    try:
        return Decoded(_transcode(body, encoding), encoding)
    except _UndecodableError as error:
        raise _explain(error, encoding) from None


def _explain(error: _UndecodableError, encoding: str) -> Exception:
    advice = (
        "Save the file as UTF-8, or declare its encoding, such as charset=windows-1252"
        if encoding == "utf-8"
        else "Save the file as UTF-8, or declare another encoding"
    )
    detail = (
        f"Line {error.line} is not {encoding.upper()}: its byte {error.byte} is 0x{error.value:02x}. {advice}."
    )
    return invalid(("body", error.line), "encoding", detail)


def _transcode(body: bytes, encoding: str) -> bytes:
    """Return the text in UTF-8, decoded in chunks, because a decoder does not release the GIL."""
    is_utf8 = encoding == "utf-8"
    decoder = codecs.getincrementaldecoder(encoding)()
    parts: list[bytes] = []
    for start in range(0, len(body) + 1, _CHUNK):
        chunk = body[start : start + _CHUNK]
        buffered = decoder.getstate()[0]
        try:
            text = decoder.decode(chunk, final=start + _CHUNK > len(body))
        except UnicodeDecodeError as error:
            raise _locate(body, start - len(buffered) + error.start, encoding) from None
        if not is_utf8:
            parts.append(text.encode())
    return body if is_utf8 else b"".join(parts)


def _locate(body: bytes, position: int, encoding: str) -> _UndecodableError:
    newline = "\n".encode(encoding)
    before = body[:position]
    line_start = before.rfind(newline)
    byte = position - (line_start + len(newline) if line_start >= 0 else 0) + 1
    return _UndecodableError(before.count(newline) + 1, byte, body[position])


def _guess_utf16(body: bytes) -> str | None:
    """Return UTF-16 if the file has no byte order mark and every other byte of its beginning is mostly zero."""
    sample = body[:_SAMPLE]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) * 4 < len(sample) or min(even, odd):
        return None
    return "utf-16-be" if even else "utf-16-le" if odd else None


def _detect(body: bytes) -> str | None:
    """Return the encoding of a file that is not UTF-8 if its text is certain, else None.

    A file with more UTF-8 sequences than other bytes is a damaged UTF-8 file.
    """
    sample = b"".join(islice(_lines_beyond_ascii(body), _SAMPLE))[:_SAMPLE]
    text = sample.decode(errors="surrogateescape")
    wrong = sum("\udc80" <= character <= "\udcff" for character in text)
    if sum(not character.isascii() for character in text) - wrong > wrong:
        return None
    matches = list(from_bytes(sample))
    if not matches or matches[0].coherence < _COHERENCE_MIN or matches[0].encoding not in _CODECS:
        return None
    best, *others = matches
    is_certain = all(best.coherence - other.coherence >= _COHERENCE_LEAD for other in others)
    return codecs.lookup(best.encoding).name if is_certain else None


def _lines_beyond_ascii(body: bytes) -> Iterator[bytes]:
    return (line for line in BytesIO(body) if not line.isascii())
