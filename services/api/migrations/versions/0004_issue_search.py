"""Store the search data of similar issues, and index the vectors if the server has pgvector.

Revision: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# pgvector is not a trusted extension. If this role is not a superuser, a superuser must create it first.
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
    # ANALYZE then stores the document frequencies of 3,000 lexemes, which the search uses to select lexemes.
    op.execute("ALTER TABLE issue_search ALTER COLUMN words SET STATISTICS 300")
    op.execute(ENABLE.format(extension="vector"))
    op.execute(ENABLE.format(extension="pg_trgm"))
    op.execute(INDEX_VECTORS)


def downgrade() -> None:
    # The extensions stay, because other objects may use them and they hold no data.
    op.drop_table("issue_search")
