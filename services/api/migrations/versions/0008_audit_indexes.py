"""Index the audit log by actor and subject while services run; rebuild indexes after an interruption.

Revision: 0008
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # No timeout: building an index takes long and blocks no other query.
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = 0")
        for column in ("actor", "subject"):
            name = f"ix_audit_log_{column}_id"
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON audit_log ({column}, id)")
        op.execute("SET statement_timeout = '60s'")
        op.execute("SET lock_timeout = '4s'")


def downgrade() -> None:
    for column in ("subject", "actor"):
        op.drop_index(f"ix_audit_log_{column}_id", table_name="audit_log")
