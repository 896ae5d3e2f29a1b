"""Bounds on what an issue may hold; the API refuses what is over, the tables check it again."""

TITLE_MAX = 255
"""Characters."""

DESCRIPTION_MAX = 65_536
"""Characters."""

PROJECT_PATTERN = "^[a-z0-9][a-z0-9._/-]{0,99}$"
"""A project's name: lower case, as in `acme/shop`."""

DEFAULT_PROJECT = "default"
"""The project of an issue whose reporter names none."""

HOLDER_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"
"""The name of whoever holds an API token, which the audit log shows."""

MESSAGE_MAX = 64 * 1024
"""Bytes of a message in its queue; ours are below one KiB, since they carry ids and no text."""

RAW_MESSAGE_MAX = 1024 * 1024
"""Bytes of a refused message that are kept."""

EXTERNAL_SOURCE_PATTERN = "^[a-z0-9][a-z0-9._:/-]{0,99}$"
"""Another system that an issue comes from, as in `github:acme/shop`."""

EXTERNAL_ID_MAX = 200
EXTERNAL_URL_MAX = 2000
"""Characters of the names that another system knows an issue by."""
