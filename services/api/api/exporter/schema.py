"""The head of the migrations that this version brings."""

from functools import cache
from pathlib import Path

from alembic.script import ScriptDirectory

MIGRATIONS = Path(__file__).parents[2] / "migrations"


@cache
def schema_head() -> str | None:
    """Return the newest migration's revision."""
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()
