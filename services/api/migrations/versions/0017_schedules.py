"""Add the schedules, which replace the hourly pruning and the training after a confirmation.

Revision: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "schedule",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("next_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_job_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_schedule")),
    )
    op.execute("""
        INSERT INTO schedule (name, cron, time_zone, next_run_at) VALUES
            ('prune', '0 * * * *', 'UTC', date_bin('1 hour', now(), 'epoch') + interval '1 hour'),
            ('retrain', '*/10 * * * *', 'UTC', date_bin('10 minutes', now(), 'epoch') + interval '10 minutes')
    """)


def downgrade() -> None:
    op.drop_table("schedule")
