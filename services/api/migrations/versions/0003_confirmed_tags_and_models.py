"""Store confirmed tags, the models trained on them, and the audit log.

Revision: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Each statement is a transaction and can be repeated. No statement that blocks other queries reads every issue.
WHILE_ISSUES_COME_IN = (
    """
    ALTER TABLE issue
    ADD COLUMN IF NOT EXISTS project TEXT DEFAULT 'default' NOT NULL,
    ADD COLUMN IF NOT EXISTS tags_confirmed_at TIMESTAMP WITH TIME ZONE
    """,
    """
    ALTER TABLE issue
    DROP CONSTRAINT IF EXISTS ck_issue_project,
    ADD CONSTRAINT ck_issue_project CHECK (project ~ '^[a-z0-9][a-z0-9._/-]{0,99}$') NOT VALID
    """,
    "SET statement_timeout = 0",
    "ALTER TABLE issue VALIDATE CONSTRAINT ck_issue_project",
    # An interrupted build leaves an invalid index.
    "DROP INDEX CONCURRENTLY IF EXISTS ix_issue_confirmed",
    """
    CREATE INDEX CONCURRENTLY ix_issue_confirmed ON issue (project, tags_confirmed_at)
    WHERE tags_confirmed_at IS NOT NULL
    """,
    "SET statement_timeout = '60s'",
)


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for statement in WHILE_ISSUES_COME_IN:
            op.execute(statement)
    op.create_table(
        "tag_feedback",
        sa.Column("issue_id", sa.Uuid(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("verdict IN ('accepted', 'rejected', 'added')", name=op.f("ck_tag_feedback_verdict")),
        sa.ForeignKeyConstraint(
            ["issue_id"], ["issue.id"], name=op.f("fk_tag_feedback_issue_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("issue_id", "tag", name=op.f("pk_tag_feedback")),
    )
    # After tag_feedback, whose foreign key locks issue, because a worker's commit locks both in the same order.
    op.add_column("enrichment", sa.Column("priority", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("enrichment", sa.Column("language", sa.Text(), nullable=True))
    op.create_table(
        "project_model",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("base_version", sa.Text(), nullable=False),
        sa.Column("parameters", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("examples", sa.Integer(), nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("replaced", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('type', 'areas')", name=op.f("ck_project_model_kind")),
        sa.ForeignKeyConstraint(["replaced"], ["project_model.id"], name=op.f("fk_project_model_replaced")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_model")),
    )
    op.create_index(op.f("ix_project_model_project_id"), "project_model", ["project", "id"], unique=False)
    op.create_table(
        "active_model",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["project_model.id"], name=op.f("fk_active_model_model_id")),
        sa.PrimaryKeyConstraint("project", "kind", name=op.f("pk_active_model")),
    )
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column(
            "detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_table(
        "provider_usage",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("requests", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("provider", "day", name=op.f("pk_provider_usage")),
    )


def downgrade() -> None:
    for table in ("provider_usage", "audit_log", "active_model", "project_model", "tag_feedback"):
        op.drop_table(table)
    op.drop_column("enrichment", "language")
    op.drop_column("enrichment", "priority")
    op.drop_index("ix_issue_confirmed", table_name="issue")
    op.drop_constraint(op.f("ck_issue_project"), "issue", type_="check")
    op.drop_column("issue", "tags_confirmed_at")
    op.drop_column("issue", "project")
