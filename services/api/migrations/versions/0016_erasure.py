"""Add the tombstones of erased issues, and the indexes that erasures and their pruning read.

Revision: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_ENDED_RUN = "state IN ('cancelled', 'skipped', 'succeeded') AND task = 'app.tasks.issues.enrich_issue'"
INDEXES = {
    "ix_erasure_unfinished": "erasure (id) WHERE finished_at IS NULL",
    "ix_erasure_external": "erasure (external_digest) WHERE external_digest IS NOT NULL",
    "ix_issue_project": "issue (project, created_at, id)",
    "ix_issue_deleted": "issue (deleted_at) WHERE deleted_at IS NOT NULL",
    "ix_job_orphaned": f"job (finished_at) WHERE {_ENDED_RUN} AND issue_id IS NULL",
    "ix_webhook_delivery_issue_id": "webhook_delivery (issue_id)",
    "ix_idempotent_answer_issue_id": "idempotent_answer (issue_id)",
}


def upgrade() -> None:
    # Repeatable after an interruption, because the autocommit block below commits each statement.
    op.create_table(
        "erasure",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("is_project", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("external_digest", sa.LargeBinary(), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasure")),
        if_not_exists=True,
    )
    op.add_column("idempotent_answer", sa.Column("issue_id", sa.Uuid(), nullable=True), if_not_exists=True)
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
    for name in reversed(INDEXES):
        op.execute(f"DROP INDEX IF EXISTS {name}")
    op.drop_column("idempotent_answer", "issue_id")
    op.drop_table("erasure")
