"""The migrations of this release."""

from functools import cache
from pathlib import Path

MIGRATIONS = Path(__file__).parents[1] / "migrations"


@cache
def list_revisions() -> tuple[str, ...]:
    """Return the revisions, newest first."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - takes half a second, and few callers need it

    return tuple(script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions())
