"""Chain the entries of the audit log, so that `issuetracker audit verify` finds changed, deleted and forged ones.

A chain in the transactions of the changes would need a lock until each commit, so every audited write would wait
for the one before. Therefore the chain has two steps:

1. A trigger writes the digest of each new entry into `audit_pending`, in the transaction of the change.
2. Every few seconds, an API process seals committed digests: `seal_audit_entries` moves them into `audit_seal`, where
   each hash includes the one before.

A trigger, because it covers every writer, including workers and APIs of the previous release. It skips connections
of other programs such as psql, so their entries are reported as forged. This is no protection against an attacker
who takes the name of a service. Nor is the chain one against an attacker who recomputes it: compare its head with a
copy.

The functions belong to the owner of the tables. A role that may only insert entries cannot write digests or seals.
Entries contain no text of issues, so an erasure leaves them. Revision: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# Temporary tables of the caller must not replace the tables.
_AS_OWNER = "SECURITY DEFINER SET search_path = public, pg_temp"
DIGEST = """
CREATE OR REPLACE FUNCTION audit_digest(
    id uuid, actor text, actor_id uuid, action text, subject text, detail jsonb, created_at timestamptz
) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sha256(convert_to(jsonb_build_array(
        id, actor, actor_id, action, subject, detail, extract(epoch FROM created_at)
    )::text, 'UTF8'))
$$
"""
_DIGEST_OF_ENTRY = "audit_digest(id, actor, actor_id, action, subject, detail, created_at)"
HASH = """
CREATE OR REPLACE FUNCTION audit_hash(previous bytea, number bigint, entry_id uuid, digest bytea)
RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT sha256(coalesce(previous, '') || int8send(number) || uuid_send(entry_id) || digest)
$$
"""
CHAIN = f"""
CREATE OR REPLACE FUNCTION chain_audit_entries() RETURNS trigger LANGUAGE plpgsql {_AS_OWNER} AS $$
BEGIN
    IF current_setting('application_name') LIKE 'issuetracker-%' THEN
        INSERT INTO audit_pending (entry_id, digest) SELECT id, {_DIGEST_OF_ENTRY} FROM written ORDER BY id;
    END IF;
    RETURN NULL;
END $$
"""
SEAL = f"""
CREATE OR REPLACE FUNCTION seal_audit_entries(maximum integer)
RETURNS TABLE (sealed integer, last_number bigint, head bytea) LANGUAGE plpgsql {_AS_OWNER} AS $$
DECLARE
    entry record;
BEGIN
    sealed := 0;
    BEGIN
        -- One process at a time. Only the owner of the table can take this lock.
        LOCK TABLE audit_seal IN SHARE ROW EXCLUSIVE MODE NOWAIT;
    EXCEPTION WHEN lock_not_available THEN
        RETURN NEXT;
        RETURN;
    END;
    SELECT number, hash INTO last_number, head FROM audit_seal ORDER BY number DESC LIMIT 1;
    FOR entry IN
        WITH moved AS (
            DELETE FROM audit_pending WHERE position IN (
                SELECT position FROM audit_pending ORDER BY position LIMIT maximum
            ) RETURNING *
        )
        SELECT * FROM moved ORDER BY position
    LOOP
        sealed := sealed + 1;
        last_number := coalesce(last_number, 0) + 1;
        head := audit_hash(head, last_number, entry.entry_id, entry.digest);
        INSERT INTO audit_seal (number, entry_id, digest, hash)
        VALUES (last_number, entry.entry_id, entry.digest, head);
    END LOOP;
    RETURN NEXT;
END $$
"""
ON_INSERT = """
CREATE TRIGGER chain_audit_entries AFTER INSERT ON audit_log
REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION chain_audit_entries()
"""
# In batches, because the event stream waits for long transactions. No lock is held while the table is read.
CHAIN_OLD_ENTRIES = f"""
DO $$
DECLARE
    after uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    LOOP
        WITH old AS (SELECT * FROM audit_log WHERE id > after ORDER BY id LIMIT 10000), chained AS (
            INSERT INTO audit_pending (entry_id, digest)
            SELECT id, {_DIGEST_OF_ENTRY} FROM old
            WHERE NOT EXISTS (SELECT FROM audit_pending WHERE entry_id = id)
                AND NOT EXISTS (SELECT FROM audit_seal WHERE entry_id = id)
            ORDER BY id
        )
        SELECT id INTO after FROM old ORDER BY id DESC LIMIT 1;
        EXIT WHEN after IS NULL;
        COMMIT;
    END LOOP;
END $$
"""


def upgrade() -> None:
    # Repeatable after an interruption, because the autocommit block below commits each statement.
    op.create_table(
        "audit_pending",
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_audit_pending")),
        if_not_exists=True,
    )
    op.create_table(
        "audit_seal",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_seal")),
        if_not_exists=True,
    )
    op.create_index(op.f("ix_audit_seal_entry_id"), "audit_seal", ["entry_id"], if_not_exists=True)
    for function in (DIGEST, HASH, CHAIN, SEAL):
        op.execute(function)
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("DROP TRIGGER IF EXISTS chain_audit_entries ON audit_log")
        op.execute(ON_INSERT)
        op.execute(CHAIN_OLD_ENTRIES)
        op.execute("SET statement_timeout = '60s'")


def downgrade() -> None:
    op.execute("DROP TRIGGER IF EXISTS chain_audit_entries ON audit_log")
    for function in ("chain_audit_entries", "seal_audit_entries", "audit_hash", "audit_digest"):
        op.execute(f"DROP FUNCTION IF EXISTS {function}")
    op.drop_table("audit_seal")
    op.drop_table("audit_pending")
