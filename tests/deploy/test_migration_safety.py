"""No migration locks a table for longer than a moment, or breaks the code that still runs: squawk reads each.

`docs/how-to/upgrade.md` has the rules. An exclusion names its reason; one of a migration ends with it.
"""

import io
import subprocess

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory

from tests.support.processes import API, tool

POSTGRES = "17"
"""The version that compose and the tests run."""

EXCLUDED = {
    "prefer-robust-stmts": "a migration is a transaction; what cannot be in one is written to be run again",
    "prefer-text-field": "the one varchar is Alembic's own, in alembic_version",
    "prefer-bigint-over-int": "counts of attempts, examples and requests stay far below 2^31; no id is a number",
}
EXCLUDED_OF = {
    "0002": {"require-concurrent-index-creation": "released before there was this test"},
    "0003": {"ban-drop-constraint": "its own, left by an attempt that was broken off"},
}

CONFIG = Config(API / "alembic.ini")
MIGRATIONS = [*ScriptDirectory.from_config(CONFIG).walk_revisions()]

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
    """Return the SQL of one migration, as `alembic upgrade --sql` writes it."""
    written = io.StringIO()
    config = Config(API / "alembic.ini", output_buffer=written)
    command.upgrade(config, f"{migration.down_revision or 'base'}:{migration.revision}", sql=True)
    return written.getvalue()


def squawk(sql: str, *excluded: str) -> str:
    """Return what squawk finds, one line each."""
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
def test_migration_is_safe_while_issues_come_in(migration: Script) -> None:
    assert squawk(sql_of(migration), *EXCLUDED, *EXCLUDED_OF.get(migration.revision, {})) == ""


@pytest.mark.parametrize(("statement", "rule"), UNSAFE.items(), ids=UNSAFE.values())
def test_an_unsafe_statement_is_found(statement: str, rule: str) -> None:
    assert rule in squawk(f"SET lock_timeout = '4s'; BEGIN; {statement}; COMMIT;", *EXCLUDED)
