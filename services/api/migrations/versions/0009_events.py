"""Write a row of the table `event` for each change of an issue or of a job's state.

Triggers, because they cover every writer, including workers of the previous release and psql. Revision: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ANNOUNCE_JOB = """
CREATE OR REPLACE FUNCTION announce_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (kind, issue_id, job_id, task, state)
    VALUES ('job.changed', NEW.issue_id, NEW.id, NEW.task, NEW.state);
    RETURN NULL;
END $$
"""
ANNOUNCE_ISSUE = """
CREATE OR REPLACE FUNCTION announce_issue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (kind, issue_id) VALUES (
        CASE WHEN TG_OP = 'INSERT' THEN 'issue.created'
            WHEN NEW.deleted_at IS NOT NULL THEN 'issue.deleted'
            ELSE 'issue.changed' END,
        NEW.id
    );
    RETURN NULL;
END $$
"""
# A new job needs no event, because its issue has one. Lease renewals change no state.
ON_JOB = """
CREATE TRIGGER announce_job AFTER UPDATE OF state ON job
FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION announce_job()
"""
ON_ISSUE = """
CREATE TRIGGER announce_issue AFTER INSERT OR UPDATE ON issue
FOR EACH ROW EXECUTE FUNCTION announce_issue()
"""


def upgrade() -> None:
    # Repeatable after an interruption, because the autocommit block below commits each statement.
    op.create_table(
        "event",
        sa.Column(
            "transaction_id",
            sa.BigInteger(),
            server_default=sa.text("pg_current_xact_id()::text::bigint"),
            nullable=False,
        ),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("issue_id", sa.Uuid(), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("task", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("transaction_id", "id", name=op.f("pk_event")),
        if_not_exists=True,
    )
    op.execute(ANNOUNCE_JOB)
    op.execute(ANNOUNCE_ISSUE)
    with op.get_context().autocommit_block():
        # Release each trigger's lock before acquiring the next, because writers lock both tables.
        op.execute("DROP TRIGGER IF EXISTS announce_job ON job")
        op.execute(ON_JOB)
        op.execute("DROP TRIGGER IF EXISTS announce_issue ON issue")
        op.execute(ON_ISSUE)


def downgrade() -> None:
    op.execute("DROP TRIGGER IF EXISTS announce_job ON job")
    op.execute("DROP TRIGGER IF EXISTS announce_issue ON issue")
    op.execute("DROP FUNCTION IF EXISTS announce_job, announce_issue")
    op.drop_table("event")
