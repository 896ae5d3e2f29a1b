"""Keep what similar issues are found by; index the vectors where the server has pgvector.

Revision: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# pgvector is no trusted extension: where this role is no superuser, somebody else creates it before.
ENABLE = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = '{extension}') THEN
        CREATE EXTENSION IF NOT EXISTS {extension};
    END IF;
EXCEPTION WHEN insufficient_privilege THEN NULL;
END $$
"""
INDEX_VECTORS = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_am WHERE amname = 'hnsw') THEN
        CREATE INDEX ix_issue_search_embedding ON issue_search
        USING hnsw ((embedding::vector(384)) vector_cosine_ops);
    END IF;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "issue_search",
        sa.Column("issue_id", sa.Uuid(), nullable=False),
        sa.Column("words", postgresql.TSVECTOR(), nullable=False),
        sa.Column("embedding", postgresql.ARRAY(sa.REAL()), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("indexed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["issue_id"], ["issue.id"], name=op.f("fk_issue_search_issue_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("issue_id", name=op.f("pk_issue_search")),
    )
    op.create_index(
        op.f("ix_issue_search_words"),
        "issue_search",
        ["words"],
        unique=False,
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    )
    # ANALYZE then keeps 3,000 lexemes: their document frequencies tell which are worth looking for.
    op.execute("ALTER TABLE issue_search ALTER COLUMN words SET STATISTICS 300")
    op.execute(ENABLE.format(extension="vector"))
    op.execute(ENABLE.format(extension="pg_trgm"))
    op.execute(INDEX_VECTORS)


def downgrade() -> None:
    # The extensions stay: others may use them, and they hold no data.
    op.drop_table("issue_search")
