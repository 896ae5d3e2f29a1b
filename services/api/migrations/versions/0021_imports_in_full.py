"""Add the history of imported issues and the details of imports, and allow titles of 512 characters.

Revision: 0021
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

TITLE = "ck_issue_title_length"
FORMAT = "ck_operation_format"


def upgrade() -> None:
    # As in 0005.
    op.execute("SELECT pg_sleep(1) FROM issue LIMIT 1")
    op.add_column("issue", sa.Column("external_details", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    _set_title_max(512)
    op.add_column("operation", sa.Column("mapping", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("operation", sa.Column("encoding", sa.Text(), nullable=True))
    op.add_column("operation", sa.Column("export", sa.Text(), nullable=True))
    op.add_column(
        "operation",
        sa.Column(
            "problems", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
    )
    op.add_column("operation", sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True))
    _set_formats("ndjson", "csv", "json", "xlsx", old="github", new="json")


def downgrade() -> None:
    op.execute("UPDATE operation SET format = 'csv' WHERE format = 'xlsx'")
    _set_formats("ndjson", "csv", "github", old="json", new="github")
    for column in ("cancelled_at", "problems", "export", "encoding", "mapping"):
        op.drop_column("operation", column)
    op.execute("UPDATE issue SET title = left(title, 255) WHERE char_length(title) > 255")
    _set_title_max(255)
    op.drop_column("issue", "external_details")


# Not valid: existing rows satisfy the wider checks, and a validation would read the whole table.
def _set_title_max(maximum: int) -> None:
    op.drop_constraint(op.f(TITLE), "issue")
    op.create_check_constraint(
        op.f(TITLE), "issue", f"char_length(title) BETWEEN 1 AND {maximum}", postgresql_not_valid=True
    )


def _set_formats(*formats: str, old: str, new: str) -> None:
    op.drop_constraint(op.f(FORMAT), "operation")
    op.execute(f"UPDATE operation SET format = '{new}' WHERE format = '{old}'")
    listed = ", ".join(f"'{name}'" for name in formats)
    op.create_check_constraint(op.f(FORMAT), "operation", f"format IN ({listed})", postgresql_not_valid=True)
