"""Read the Content-Type header of a request (RFC 9110, 8.3)."""

from email.message import Message


def read_media_type(content_type: str) -> tuple[str, dict[str, str]]:
    """Return the media type and its parameters. Names are in lower case; quotes around values are removed."""
    message = Message()
    message["content-type"] = content_type
    (media_type, _), *parameters = message.get_params(failobj=[("", "")])
    return media_type.strip().lower(), {name.strip().lower(): _text(value).strip() for name, value in parameters}


def _text(value: str | tuple[str | None, str | None, str]) -> str:
    """Return a value without the character set and language of RFC 2231, as in `name*=utf-8'en'value`.

    The names that the API accepts are ASCII, so the character set does not matter.
    """
    return value if isinstance(value, str) else value[2]
