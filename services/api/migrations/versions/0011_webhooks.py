"""Add webhooks, and the deliveries that triggers create for them.

Triggers, as in 0009, create the delivery in the writer's transaction, also for the previous release. Without
webhooks, each costs one read of an empty table.

Revision: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# A UUIDv7 as in `contracts.ids`, because dead letters are listed by the time of their ids.
NEW_ID = """
CREATE OR REPLACE FUNCTION new_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(
        set_bit(set_bit(overlay(
            uuid_send(gen_random_uuid())
            PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
            FROM 1 FOR 6
        ), 52, 1), 53, 1),
        'hex'
    )::uuid
$$
"""
TELL_WEBHOOKS = """
CREATE OR REPLACE FUNCTION tell_webhooks() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    hook record;
    subject uuid;
    delivery uuid;
    origin jsonb := '{}';
BEGIN
    -- 5 microseconds where there is none; the loop's cursor takes 50.
    IF NOT EXISTS (SELECT FROM webhook WHERE active AND TG_ARGV[0] = ANY (events)) THEN
        RETURN NULL;
    END IF;
    FOR hook IN
        SELECT webhook.id, open_until FROM webhook LEFT JOIN circuit ON circuit.task = 'webhook:' || webhook.id
        WHERE active AND TG_ARGV[0] = ANY (events)
    LOOP
        IF TG_TABLE_NAME = 'job' THEN
            subject := NEW.issue_id;
            origin := jsonb_strip_nulls(jsonb_build_object(
                'request_id', NEW.message->'request_id', 'traceparent', NEW.message->'traceparent'
            ));
        ELSE
            subject := NEW.id;
        END IF;
        delivery := new_id();
        INSERT INTO job (id, task, queue, message, run_at) VALUES (
            delivery, 'app.tasks.webhooks.deliver', 'default',
            origin || jsonb_build_object(
                'contract_version', '1.1.0', 'job_id', delivery, 'webhook_id', hook.id
            ),
            greatest(now(), hook.open_until)
        );
        INSERT INTO webhook_delivery (job_id, webhook_id, event, issue_id)
        VALUES (delivery, hook.id, TG_ARGV[0], subject);
    END LOOP;
    RETURN NULL;
END $$
"""
# A run sets only ai_summary, tags and updated_at. Each change by a user sets one of these columns.
PEOPLE_SET = "title, description, priority, status, project, duplicate_of, tags_confirmed_at, external_url"
CHANGED = " OR ".join(
    f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in (*PEOPLE_SET.split(", "), "tags")
)
ENDED = "NEW.task = 'app.tasks.issues.enrich_issue' AND OLD.state <> NEW.state AND NEW.state ="
# In the lock order of a worker's commit.
TRIGGERS = (
    ("job", "enriched", f"UPDATE OF state ON job FOR EACH ROW WHEN ({ENDED} 'succeeded')"),
    ("job", "enrichment_dead", f"UPDATE OF state ON job FOR EACH ROW WHEN ({ENDED} 'dead')"),
    ("issue", "created", "INSERT ON issue FOR EACH ROW"),
    ("issue", "updated", f"UPDATE OF {PEOPLE_SET} ON issue FOR EACH ROW WHEN ({CHANGED})"),
    (
        *("issue", "deleted"),
        "UPDATE OF deleted_at ON issue FOR EACH ROW WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL)",
    ),
)


def upgrade() -> None:
    # Repeatable after an interruption, because the autocommit block below commits each statement.
    op.create_table(
        "webhook",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("deactivated_reason", sa.Text(), nullable=True),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous_secret", sa.Text(), nullable=True),
        sa.Column("previous_secret_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("cardinality(events) > 0", name=op.f("ck_webhook_events")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
        if_not_exists=True,
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("webhook_id", sa.Uuid(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("issue_id", sa.Uuid(), nullable=True),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["job.id"], name=op.f("fk_webhook_delivery_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_webhook_delivery")),
        if_not_exists=True,
    )
    op.create_index(
        op.f("ix_webhook_delivery_webhook_id_job_id"),
        "webhook_delivery",
        ["webhook_id", "job_id"],
        unique=False,
        if_not_exists=True,
    )
    op.execute(NEW_ID)
    op.execute(TELL_WEBHOOKS)
    with op.get_context().autocommit_block():
        # Release each trigger's lock before acquiring the next, because writers lock both tables.
        for table, what, when in TRIGGERS:
            op.execute(f"DROP TRIGGER IF EXISTS webhooks_{what} ON {table}")
            op.execute(
                f"CREATE TRIGGER webhooks_{what} AFTER {when} EXECUTE FUNCTION tell_webhooks('issue.{what}')"
            )


def downgrade() -> None:
    for table, what, _ in TRIGGERS:
        op.execute(f"DROP TRIGGER IF EXISTS webhooks_{what} ON {table}")
    op.execute("DROP FUNCTION IF EXISTS tell_webhooks, new_id")
    op.drop_table("webhook_delivery")
    op.drop_table("webhook")
