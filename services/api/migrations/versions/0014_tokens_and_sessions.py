"""Add the projects to which an ingest token is bound, and the id, address and last use of a session.

Revision: 0014
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # In the order in which a login locks the tables.
    op.execute("ALTER TABLE api_session ADD COLUMN address text NOT NULL DEFAULT ''")
    op.execute("ALTER TABLE api_session ADD COLUMN last_used_at timestamptz NOT NULL DEFAULT now()")
    op.execute("ALTER TABLE api_session ADD COLUMN id uuid")
    op.execute("ALTER TABLE api_session ALTER COLUMN id SET DEFAULT gen_random_uuid()")
    op.execute("UPDATE api_session SET id = gen_random_uuid()")
    op.execute("ALTER TABLE api_token ADD COLUMN projects text[] NOT NULL DEFAULT '{}'")


def downgrade() -> None:
    op.drop_column("api_session", "id")
    op.drop_column("api_session", "last_used_at")
    op.drop_column("api_session", "address")
    op.drop_column("api_token", "projects")
