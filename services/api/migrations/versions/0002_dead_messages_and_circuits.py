"""Store dead messages and circuit breakers, and the reason for discarding a job.

Revision: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "circuit",
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("open_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("task", name=op.f("pk_circuit")),
    )
    op.create_table(
        "dead_message",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), server_default="dead", nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "reason IN ('undecodable', 'oversized', 'unknown_task', 'invalid_arguments', 'newer_contract', "
            "'unknown_job')",
            name=op.f("ck_dead_message_reason"),
        ),
        sa.CheckConstraint("state IN ('dead', 'replayed', 'discarded')", name=op.f("ck_dead_message_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_message")),
        sa.UniqueConstraint("digest", name=op.f("uq_dead_message_digest")),
    )
    op.create_index(op.f("ix_dead_message_state_id"), "dead_message", ["state", "id"], unique=False)
    op.add_column("job", sa.Column("refused_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("job", sa.Column("note", sa.Text(), nullable=True))
    op.create_index("ix_job_dead", "job", ["id"], unique=False, postgresql_where=sa.text("state IN ('dead')"))


def downgrade() -> None:
    op.drop_index("ix_job_dead", table_name="job", postgresql_where=sa.text("state IN ('dead')"))
    op.drop_column("job", "note")
    op.drop_column("job", "refused_since")
    op.drop_index(op.f("ix_dead_message_state_id"), table_name="dead_message")
    op.drop_table("dead_message")
    op.drop_table("circuit")
