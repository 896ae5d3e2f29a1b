"""Bounds on what an issue may hold; the API refuses what is over, the tables check it again."""

TITLE_MAX = 255
"""Characters."""

DESCRIPTION_MAX = 65_536
"""Characters."""

PROJECT_PATTERN = "^[a-z0-9][a-z0-9._/-]{0,99}$"
"""A project's name: lower case, as in `acme/shop`."""

DEFAULT_PROJECT = "default"
"""The project of an issue whose reporter names none."""

REQUEST_ID_PATTERN = "^[A-Za-z0-9._~+/=:-]{1,128}$"
"""A request's id: what proxies and clients use, and nothing that could break a log line or a header."""

TRACEPARENT_PATTERN = "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
"""A span's place in its trace, as W3C Trace Context writes it."""

MESSAGE_MAX = 64 * 1024
"""Bytes of a message in its queue; ours are below one KiB, since they carry ids and no text."""

RAW_MESSAGE_MAX = 1024 * 1024
"""Bytes of a refused message that are kept."""
