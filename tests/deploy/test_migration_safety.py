"""No migration holds a lock for long or breaks running code. squawk checks each migration.

`docs/how-to/upgrade.md` lists the rules. Each exclusion has a reason.
"""

import io
import subprocess

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory

from tests.support.processes import API, tool

POSTGRES = "17"
"""The PostgreSQL version of compose and the tests."""

EXCLUDED = {
    "prefer-robust-stmts": "a migration runs in a transaction, and statements outside it are repeatable",
    "prefer-text-field": "the only varchar is in the table alembic_version of Alembic",
    "prefer-bigint-over-int": "counts of attempts, examples and requests are far below 2^31, and ids are UUIDs",
}
EXCLUDED_OF = {
    "0002": {"require-concurrent-index-creation": "released before this test existed"},
    "0003": {"ban-drop-constraint": "drops only its own constraint, after an interrupted attempt"},
    "0021": {
        "ban-drop-constraint": "widens the check of titles; imports, whose check it narrows, are not in 0.1.0"
    },
}

MIGRATIONS = [*ScriptDirectory(str(API / "migrations")).walk_revisions()]

UNSAFE = {
    "ALTER TABLE issue ADD COLUMN estimate integer NOT NULL": "adding-required-field",
    "ALTER TABLE issue ALTER COLUMN title TYPE varchar(100)": "changing-column-type",
    "ALTER TABLE issue DROP COLUMN priority": "ban-drop-column",
    "ALTER TABLE issue RENAME COLUMN title TO headline": "renaming-column",
    "ALTER TABLE issue ADD CONSTRAINT short CHECK (char_length(title) < 100)": "constraint-missing-not-valid",
    "CREATE INDEX ix_issue_title ON issue (title)": "require-concurrent-index-creation",
    "TRUNCATE issue CASCADE": "ban-truncate-cascade",
}


def sql_of(migration: Script) -> str:
    """Return the SQL of one migration from `alembic upgrade --sql`."""
    output = io.StringIO()
    config = Config(toml_file=API / "pyproject.toml", output_buffer=output)
    command.upgrade(config, f"{migration.down_revision or 'base'}:{migration.revision}", sql=True)
    return output.getvalue()


def squawk(sql: str, *excluded: str) -> str:
    """Return the findings of squawk, one per line."""
    arguments = ["--reporter=gcc", f"--pg-version={POSTGRES}", f"--exclude={','.join(excluded)}"]
    done = subprocess.run(
        [tool("squawk"), *arguments, "--stdin-filepath=migration.sql"],
        input=sql,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout


@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda migration: migration.revision)
def test_migration_is_safe_under_traffic(migration: Script) -> None:
    assert squawk(sql_of(migration), *EXCLUDED, *EXCLUDED_OF.get(migration.revision, {})) == ""


@pytest.mark.parametrize(("statement", "rule"), UNSAFE.items(), ids=UNSAFE.values())
def test_unsafe_statement_is_reported_by_squawk(statement: str, rule: str) -> None:
    assert rule in squawk(f"SET lock_timeout = '4s'; BEGIN; {statement}; COMMIT;", *EXCLUDED)
