"""Add soft deletion, duplicates, external ids, lexemes, decisions, tag descriptions and idempotent responses.

Columns are nullable and have no default, so no table is rewritten. 0006 fills and indexes them while services
run. Revision: 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# A trigger, because it must cover every writer of an issue's text, including the previous release and imports.
LEXEMES = """
CREATE FUNCTION issue_lexemes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.lexemes := setweight(to_tsvector('english', NEW.title), 'A')
        || setweight(to_tsvector('english', NEW.description), 'B');
    RETURN NEW;
END $$
"""
ON_CHANGE = """
CREATE TRIGGER issue_lexemes BEFORE INSERT OR UPDATE OF title, description ON issue
FOR EACH ROW EXECUTE FUNCTION issue_lexemes()
"""


# Release 0.1.0 reads all columns, and asyncpg re-plans a statement only once per request. So requests that met the
# previous change must have ended. Without issues there is no wait.
LET_REQUESTS_END = "SELECT pg_sleep(1) FROM issue LIMIT 1"


def upgrade() -> None:
    op.execute(LET_REQUESTS_END)
    for name, kind in (
        ("duplicate_of", sa.Uuid()),
        ("external_source", sa.Text()),
        ("external_id", sa.Text()),
        ("external_url", sa.Text()),
        ("lexemes", postgresql.TSVECTOR()),
        ("deleted_at", sa.DateTime(timezone=True)),
    ):
        op.add_column("issue", sa.Column(name, kind, nullable=True))
    # Not valid: 0006 validates existing rows without blocking other queries.
    op.create_foreign_key(
        op.f("fk_issue_duplicate_of"),
        "issue",
        "issue",
        ["duplicate_of"],
        ["id"],
        ondelete="SET NULL",
        postgresql_not_valid=True,
    )
    op.execute(LEXEMES)
    op.execute(ON_CHANGE)
    op.create_table(
        "priority_feedback",
        sa.Column("issue_id", sa.Uuid(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "value IN ('low', 'medium', 'high', 'critical')", name=op.f("ck_priority_feedback_value")
        ),
        sa.CheckConstraint("verdict IN ('accepted', 'rejected')", name=op.f("ck_priority_feedback_verdict")),
        sa.ForeignKeyConstraint(
            ["issue_id"], ["issue.id"], name=op.f("fk_priority_feedback_issue_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("issue_id", name=op.f("pk_priority_feedback")),
    )
    op.create_table(
        "tag_description",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tag_description")),
    )
    op.create_table(
        "idempotent_answer",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("octet_length(body) <= 1048576", name=op.f("ck_idempotent_answer_body_size")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotent_answer")),
    )
    op.create_index(op.f("ix_idempotent_answer_created_at"), "idempotent_answer", ["created_at"], unique=False)


def downgrade() -> None:
    for table in ("idempotent_answer", "tag_description", "priority_feedback"):
        op.drop_table(table)
    op.execute("DROP TRIGGER issue_lexemes ON issue")
    op.execute("DROP FUNCTION issue_lexemes")
    for column in ("deleted_at", "lexemes", "external_url", "external_id", "external_source", "duplicate_of"):
        op.drop_column("issue", column)
