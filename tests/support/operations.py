"""The operations pages and their commands."""

import re
from pathlib import Path

from tests.support.processes import ROOT

OTHERS = ("access", "change-the-schema", "containers", "kubernetes", "logs", "production", "run-processes")
"""Guides for other environments. `tests/deploy/test_k8s.py` checks the names in Kubernetes' guide."""
COMPOSE_PAGES = [
    page
    for directory in ("how-to", "runbooks")
    for page in sorted((ROOT / "docs" / directory).glob("*.md"))
    if page.stem not in OTHERS
]
"""Pages whose commands run in compose as they are."""


CHANGING_COMMANDS = (
    r" (up|run|restart|stop|replay|discard|deploy/backup|CONFIG|FLUSHALL|BGREWRITEAOF|UPDATE)( |$)|ID|^deploy|^\."
)
"""A pattern of commands that change something or contain a placeholder."""


def commands(page: Path, *, read_only: bool = False) -> list[str]:
    """Return the lines of the `sh` blocks of a page and the compose commands in its text."""
    text = page.read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`(docker compose (?:exec|up|restart|run|logs|stop) [^`]+)`", text)
    lines = [line for block in blocks for line in block.splitlines()] + inline
    complete_lines = [line for line in lines if not re.search(r"[A-Z]{2,}=|\$\(|make ", line)]
    return [line for line in complete_lines if not (read_only and re.search(CHANGING_COMMANDS, line))]
