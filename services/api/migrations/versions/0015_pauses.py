"""Add the pauses of queues, tasks and projects.

Revision: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pause",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("paused_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("paused_by", sa.Text(), nullable=False),
        sa.CheckConstraint("kind IN ('queue', 'task', 'project')", name=op.f("ck_pause_kind")),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_pause")),
    )


def downgrade() -> None:
    op.drop_table("pause")
