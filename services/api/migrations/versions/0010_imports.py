"""Store operations, the rows of imported files, and the fields of issues that users have edited.

Revision: 0010
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import text
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

DELETED = "(external_source, external_id) WHERE external_source IS NOT NULL AND deleted_at IS NOT NULL"
COUNTS = ("total", "done", "created", "updated", "unchanged", "skipped", "failed")


# As in 0005.
LET_REQUESTS_END = "SELECT pg_sleep(1) FROM issue LIMIT 1"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # No timeout: building an index takes long and blocks no other query. After an interruption it is rebuilt.
        op.get_bind().execute(text("SET statement_timeout = 0"))
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_issue_external_deleted")
        op.execute(f"CREATE INDEX CONCURRENTLY ix_issue_external_deleted ON issue {DELETED}")
        op.get_bind().execute(text("RESET statement_timeout"))
    op.execute(LET_REQUESTS_END)
    op.add_column("issue", sa.Column("edited", sa.ARRAY(sa.Text()), nullable=True))
    op.create_table(
        "operation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("is_dry_run", sa.Boolean(), nullable=False),
        sa.Column("project", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        *(sa.Column(name, sa.Integer(), server_default="0", nullable=False) for name in COUNTS),
        sa.Column(
            "errors", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
        sa.Column("errors_omitted", sa.Integer(), server_default="0", nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("advanced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'running', 'finished')", name=op.f("ck_operation_state")),
        sa.CheckConstraint("format IN ('ndjson', 'csv', 'github')", name=op.f("ck_operation_format")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operation")),
    )
    op.create_index(
        "ix_operation_unfinished",
        "operation",
        ["advanced_at", "id"],
        unique=False,
        postgresql_where=sa.text("state <> 'finished'"),
    )
    op.create_table(
        "import_row",
        sa.Column("operation_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.Column("external_source", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operation.id"], name=op.f("fk_import_row_operation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("operation_id", "number", name=op.f("pk_import_row")),
    )
    op.create_index(
        op.f("ix_import_row_operation_id_external_source_external_id"),
        "import_row",
        ["operation_id", "external_source", "external_id"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_table("import_row")
    op.drop_table("operation")
    op.drop_column("issue", "edited")
    op.drop_index("ix_issue_external_deleted", table_name="issue")
