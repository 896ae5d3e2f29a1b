"""Add the projects to which an ingest token is bound.

Revision: 0014
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE api_token ADD COLUMN IF NOT EXISTS projects text[] NOT NULL DEFAULT '{}'")


def downgrade() -> None:
    op.drop_column("api_token", "projects")
