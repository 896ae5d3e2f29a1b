"""Fill the search columns and index the lists, while services run.

No statement holds a lock that blocks a reader or a writer. An interrupted migration runs again from the start: it
skips filled rows and rebuilds invalid indexes. Revision: 0006
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BATCH = 1000
# The trigger fills the lexemes when the title is set. Each batch is a transaction, so locks are short.
FILL = f"""
DO $$
BEGIN
    LOOP
        UPDATE issue SET title = title WHERE id IN (
            SELECT id FROM issue WHERE lexemes IS NULL LIMIT {BATCH} FOR UPDATE SKIP LOCKED
        );
        EXIT WHEN NOT FOUND;
        COMMIT;
    END LOOP;
    -- What others held, and was passed over.
    UPDATE issue SET title = title WHERE lexemes IS NULL;
END $$
"""
RANK = "array_position(ARRAY['low'::text, 'medium'::text, 'high'::text, 'critical'::text], priority)"
INDEXES = {
    "ix_issue_created": "(created_at, id) WHERE deleted_at IS NULL",
    "ix_issue_updated": "(updated_at, id) WHERE deleted_at IS NULL",
    "ix_issue_status": "(status, created_at, id) WHERE deleted_at IS NULL",
    "ix_issue_priority": f"({RANK}, created_at, id) WHERE deleted_at IS NULL",
    "ix_issue_lexemes": "USING gin (lexemes)",
    "ix_issue_duplicate_of": "(duplicate_of) WHERE duplicate_of IS NOT NULL",
}
EXTERNAL = "(external_source, external_id) WHERE external_source IS NOT NULL AND deleted_at IS NULL"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # No timeout: building an index takes long and blocks no other query.
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = 0")
        op.execute("ALTER TABLE issue VALIDATE CONSTRAINT fk_issue_duplicate_of")
        op.execute(FILL)
        for name, definition in INDEXES.items():
            _build(name, f"INDEX CONCURRENTLY {name} ON issue {definition}")
        _build("ix_issue_external", f"UNIQUE INDEX CONCURRENTLY ix_issue_external ON issue {EXTERNAL}")
        op.execute("SET statement_timeout = '60s'")
        op.execute("SET lock_timeout = '4s'")


def _build(name: str, definition: str) -> None:
    op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    op.execute(f"CREATE {definition}")


def downgrade() -> None:
    for name in ("ix_issue_external", *INDEXES):
        op.drop_index(name, table_name="issue")
