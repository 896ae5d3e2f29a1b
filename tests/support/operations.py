"""The pages for operators, and the commands in them."""

import re
from pathlib import Path

from tests.support.processes import ROOT

OTHERS = ("access", "change-the-schema", "containers", "kubernetes", "logs", "run-processes")
"""Guides for other environments. `tests/deploy/test_k8s.py` checks the names in Kubernetes' guide."""
COMPOSE_PAGES = [
    page
    for directory in ("how-to", "runbooks")
    for page in sorted((ROOT / "docs" / directory).glob("*.md"))
    if page.stem not in OTHERS
]
"""Pages whose commands run in compose as they are."""


CHANGES = (
    r" (up|run|restart|stop|replay|discard|deploy/backup|CONFIG|FLUSHALL|BGREWRITEAOF|UPDATE)( |$)|ID|^deploy|^\."
)
"""In commands that do more than ask, or that need something to be filled in."""


def commands(page: Path, *, only_asking: bool = False) -> list[str]:
    """Return the lines of the page's `sh` blocks, and what its text says to do in compose."""
    text = page.read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`(docker compose (?:exec|up|restart|run|logs|stop) [^`]+)`", text)
    lines = [line for block in blocks for line in block.splitlines()] + inline
    typed = [line for line in lines if not re.search(r"[A-Z]{2,}=|\$\(|make ", line)]
    return [line for line in typed if not (only_asking and re.search(CHANGES, line))]
