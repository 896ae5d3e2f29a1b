"""Add the function that grants the roles of the components their rights on the tables.

The migrator calls it after each migration, and a restore at its end. Without these roles, it grants nothing: an
installation may use the owner for everything. `deploy/k8s/base/postgres/init/roles.sql` creates the roles.
Revision: 0019
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# The application may only append to the audit log; functions of the owner write the rest (migration 0018).
GRANT = """
CREATE OR REPLACE FUNCTION grant_access() RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    -- A trigger runs its function without this right.
    REVOKE EXECUTE ON FUNCTION seal_audit_entries, chain_audit_entries, grant_access FROM PUBLIC;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'issuetracker_application') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO issuetracker_application;
        REVOKE UPDATE, DELETE ON audit_log FROM issuetracker_application;
        REVOKE INSERT, UPDATE, DELETE ON audit_pending, audit_seal, alembic_version FROM issuetracker_application;
        GRANT EXECUTE ON FUNCTION seal_audit_entries TO issuetracker_application;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'issuetracker_exporter') THEN
        GRANT SELECT ON alembic_version, circuit, dead_message, job, pause, project_share, schedule TO issuetracker_exporter;
    END IF;
END $$
"""


def upgrade() -> None:
    op.execute(GRANT)


def downgrade() -> None:
    op.execute("DROP FUNCTION grant_access")
    op.execute("GRANT EXECUTE ON FUNCTION seal_audit_entries, chain_audit_entries TO PUBLIC")
