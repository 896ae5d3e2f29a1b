"""Index pruned tables by age while services run; rebuild indexes after an interruption.

Revision: 0012
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_job_ended": (
        "job (finished_at) WHERE state IN ('cancelled', 'skipped', 'succeeded')"
        " AND task <> 'app.tasks.issues.enrich_issue'"
    ),
    "ix_job_failure_failed_at": "job_failure (failed_at)",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # No timeout: building an index takes long and blocks no other query.
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = 0")
        for name, what in INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {what}")
        op.execute("SET statement_timeout = '60s'")
        op.execute("SET lock_timeout = '4s'")


def downgrade() -> None:
    op.drop_index("ix_job_failure_failed_at", table_name="job_failure")
    op.drop_index("ix_job_ended", table_name="job")
