"""Give each job a priority class and a project, and index the waiting jobs by them.

One function inserts the jobs of triggers; `contracts.ledger.enqueue` inserts all others. Jobs of the previous release
get the defaults: class medium, no project.

Revision: 0013
"""

from pathlib import Path
from runpy import run_path

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

ENQUEUE_JOB = """
CREATE OR REPLACE FUNCTION enqueue_job(
    id uuid, task text, queue text, message jsonb, issue_id uuid, project text, priority_class integer,
    run_at timestamptz
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO job (id, task, queue, message, issue_id, project, priority_class, run_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
$$
"""
# As in 0011, but by enqueue_job, with the project and the class of the event's cause.
TELL_WEBHOOKS = """
CREATE OR REPLACE FUNCTION tell_webhooks() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    hook record;
    subject uuid;
    delivery uuid;
    origin jsonb := '{}';
    class integer;
BEGIN
    -- 5 microseconds where there is none; the loop's cursor takes 50.
    IF NOT EXISTS (SELECT FROM webhook WHERE active AND TG_ARGV[0] = ANY (events)) THEN
        RETURN NULL;
    END IF;
    IF TG_TABLE_NAME = 'job' THEN
        subject := NEW.issue_id;
        class := NEW.priority_class;
        origin := jsonb_strip_nulls(jsonb_build_object(
            'request_id', NEW.message->'request_id', 'traceparent', NEW.message->'traceparent'
        ));
    ELSE
        subject := NEW.id;
        class := array_position(ARRAY['critical', 'high', 'medium', 'low'], NEW.priority) - 1;
    END IF;
    FOR hook IN
        SELECT webhook.id, open_until FROM webhook LEFT JOIN circuit ON circuit.task = 'webhook:' || webhook.id
        WHERE active AND TG_ARGV[0] = ANY (events)
    LOOP
        delivery := new_id();
        PERFORM enqueue_job(
            delivery, 'app.tasks.webhooks.deliver', 'default',
            origin || jsonb_build_object(
                'contract_version', '1.1.0', 'job_id', delivery, 'webhook_id', hook.id
            ),
            NULL, NEW.project, class, greatest(now(), hook.open_until)
        );
        INSERT INTO webhook_delivery (job_id, webhook_id, event, issue_id)
        VALUES (delivery, hook.id, TG_ARGV[0], subject);
    END LOOP;
    RETURN NULL;
END $$
"""
COLUMNS = (
    sa.Column("project", sa.Text(), server_default="", nullable=False),
    sa.Column("priority_class", sa.Integer(), server_default="2", nullable=False),
)
LANES = "job (queue, priority_class, project, task, run_at) WHERE state IN ('pending', 'retrying')"


def upgrade() -> None:
    # Repeatable after an interruption, because the autocommit block below commits each statement.
    for column in COLUMNS:
        op.add_column("job", column, if_not_exists=True)
    op.create_table(
        "project_share",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("weight", sa.Integer(), server_default="1", nullable=False),
        sa.Column("running_max", sa.Integer(), nullable=True),
        sa.CheckConstraint("weight >= 1", name=op.f("ck_project_share_weight")),
        sa.CheckConstraint("running_max >= 1", name=op.f("ck_project_share_running_max")),
        sa.PrimaryKeyConstraint("project", name=op.f("pk_project_share")),
        if_not_exists=True,
    )
    op.execute(ENQUEUE_JOB)
    op.execute(TELL_WEBHOOKS)
    with op.get_context().autocommit_block():
        # No timeout: building an index takes long and blocks no other query. After an interruption it is rebuilt.
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_job_lane")
        op.execute(f"CREATE INDEX CONCURRENTLY ix_job_lane ON {LANES}")
        op.execute("SET statement_timeout = '60s'")
        op.execute("SET lock_timeout = '4s'")


def downgrade() -> None:
    op.execute(run_path(str(Path(__file__).with_name("0011_webhooks.py")))["TELL_WEBHOOKS"])
    op.execute("DROP FUNCTION IF EXISTS enqueue_job")
    op.drop_table("project_share")
    op.drop_index("ix_job_lane", table_name="job")
    for column in COLUMNS:
        op.drop_column("job", column.name)
