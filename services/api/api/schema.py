"""The migrations that this version brings."""

from functools import cache
from pathlib import Path

MIGRATIONS = Path(__file__).parents[1] / "migrations"


@cache
def revisions() -> tuple[str, ...]:
    """Return their revisions, the newest first."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - half a second that few need

    return tuple(script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions())
