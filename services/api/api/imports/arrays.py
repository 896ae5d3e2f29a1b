"""Read the items of a JSON array one at a time, as they are in the file."""

from collections.abc import Generator, Iterator
from json import JSONDecodeError, JSONDecoder

from fastapi import HTTPException

from api.imports.sheets import ROW_MAX

_WINDOW = 64 * 1024
"""Characters that are decoded first; few items have more."""
_SPACE = " \t\r\n"


def read_array(body: bytes) -> Iterator[bytes]:
    """Yield the items of a JSON array in UTF-8; several arrays, as of `gh api --paginate`, are read as one.

    Raise an HTTP error, at the end at the latest, if the body has another form.

    ijson 3.6 cannot replace this: 20 KB of `[` take 1 GB there, one number of 20 digits or 1e400 fails the file,
    a lone surrogate becomes `?`, errors name no line, and the items are no longer the file's bytes.
    """
    try:
        yield from _items(body.decode())
    except RecursionError:
        raise HTTPException(400, "The body is nested too deeply.") from None
    except JSONDecodeError as error:
        detail = f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        raise HTTPException(400, detail) from None


def is_lines(body: bytes) -> bool:
    """Return whether a file with the content type of JSON has an object in each line instead."""
    first, _, rest = body.lstrip().partition(b"\n")
    if not first.startswith(b"{") or not rest.strip() or len(first) > ROW_MAX:
        return False
    try:
        JSONDecoder().decode(first.decode())
    except (ValueError, RecursionError):
        return False
    return True


def _items(text: str) -> Iterator[bytes]:
    decoder = JSONDecoder(parse_int=float)  # accepts any number of digits; only the end of an item matters
    position = _after_space(text, 0)
    if text[position : position + 1] != "[":
        _end_of_item(decoder, text, position)  # raises an error if the body is not JSON
        raise HTTPException(422, "The body is not a list of issues. Send a JSON array or NDJSON.")
    while text[position : position + 1] == "[":
        position = yield from _array(decoder, text, position)
    if position != len(text):
        raise JSONDecodeError("Extra data", text, position)


def _array(decoder: JSONDecoder, text: str, position: int) -> Generator[bytes, None, int]:
    """Yield the items of the array at `position`; return the position after it and the space that follows."""
    position = _after_space(text, position + 1)
    delimiter = text[position : position + 1]
    while delimiter != "]":
        end = _end_of_item(decoder, text, position)
        yield text[position:end].encode()
        position = _after_space(text, end)
        delimiter = text[position : position + 1]
        if delimiter == ",":
            position = _after_space(text, position + 1)
        elif delimiter != "]":
            raise JSONDecodeError("Expecting ',' or ']'", text, position)
    return _after_space(text, position + 1)


def _end_of_item(decoder: JSONDecoder, text: str, start: int) -> int:
    """Return the end of the item at `start`.

    The decoder does not release the GIL, so it gets only as much text as an item may have. A file with a longer
    item is rejected, because the end of the item is unknown.
    """
    for size in (_WINDOW, ROW_MAX):
        window = text[start : start + size]
        is_cut = start + size < len(text)
        try:
            _, length = decoder.raw_decode(window)
        except JSONDecodeError as error:
            if not (is_cut and _is_at_cut(error, size)):
                raise JSONDecodeError(error.msg, text, start + error.pos) from None
        else:
            if length < size or not is_cut:
                return start + length
    line = text.count("\n", 0, start) + 1
    raise HTTPException(413, f"The item at line {line} has more than {ROW_MAX} characters. Remove it.")


def _is_at_cut(error: JSONDecodeError, size: int) -> bool:
    """Return whether the end of the window may have caused the error: in a string, a literal or an escape."""
    return error.msg.startswith("Unterminated string") or error.pos > size - 16


def _after_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in _SPACE:
        position += 1
    return position
