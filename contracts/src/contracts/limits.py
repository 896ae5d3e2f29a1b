"""Limits of an issue's fields and of messages. The API rejects larger values; the tables check them again."""

TITLE_MAX = 512
"""Characters. Other trackers allow 255 or 256."""

DESCRIPTION_MAX = 65_536
"""Characters."""

PROJECT_PATTERN = "^[a-z0-9][a-z0-9._/-]{0,99}$"
"""The name of a project, such as `acme/shop`."""

DEFAULT_PROJECT = "default"
"""The project of an issue that is created without one."""

HOLDER_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"
"""The name of an API token's holder, which the audit log shows."""

REQUEST_ID_PATTERN = "^[A-Za-z0-9._~+/=:-]{1,128}$"
"""The id of a request: the characters that proxies and clients use and that are safe in logs and headers."""

TRACEPARENT_PATTERN = "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
"""The `traceparent` header of W3C Trace Context."""

CONTRACT_VERSION_PATTERN = r"^[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}$"
"""The version of the contracts that a message conforms to, such as `1.1.0`."""

MESSAGE_MAX = 64 * 1024
"""Maximum bytes of a message in its queue. Ours are below 1 KiB, because they contain ids and no text."""

RAW_MESSAGE_MAX = 1024 * 1024
"""Maximum bytes of a rejected message that are stored."""

EXTERNAL_SOURCE_PATTERN = "^[a-z0-9][a-z0-9._:/-]{0,254}$"
"""The name of the system that an issue was imported from, such as `github:acme/shop`."""

OWN_SOURCE = "issuetracker"
"""The source of an issue that was imported from another installation, where its id is the external id."""

EXTERNAL_ID_MAX = 200
EXTERNAL_URL_MAX = 2000
"""Maximum characters of an issue's id and URL in the system that it was imported from."""

PERSON_NAME_MAX = 255
"""Maximum characters of the name of an imported issue's author or assignee."""
