"""Replace the functions of the search, for installations whose migration 0020 is older than the current one.

The triggers no longer depend on the search path of the session. Revision: 0022
"""

from alembic import context, op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

TRIGGERS = ("announce_job", "tell_webhooks")
"""The other functions of triggers on issues and jobs."""


def upgrade() -> None:
    search = context.script.get_revision("0020").module
    for statement in (search.FOLD, search.QUERY, search.ON_CHANGE, search.ANNOUNCE):
        op.execute(statement)
    for function in TRIGGERS:
        op.execute(f"ALTER FUNCTION {function}() SET search_path = public, pg_temp")


def downgrade() -> None:
    for function in TRIGGERS:
        op.execute(f"ALTER FUNCTION {function}() RESET search_path")
