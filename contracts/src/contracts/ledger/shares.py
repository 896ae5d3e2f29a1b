"""The shares of projects in the workers: weights and limits."""

from contracts.ledger.statement import Statement
from contracts.ledger.states import IS_LEASED

FIND_SHARES = Statement("SELECT project, weight, running_max FROM project_share ORDER BY project")

SET_SHARE = Statement("""
INSERT INTO project_share (project, weight, running_max)
VALUES (CAST(:project AS text), CAST(:weight AS integer), CAST(:running_max AS integer))
ON CONFLICT (project) DO UPDATE SET weight = excluded.weight, running_max = excluded.running_max
""")

_LIMITS_LOCK = 0x1550_7AC5

TRY_LOCK_LIMITS = Statement(f"SELECT pg_try_advisory_xact_lock({_LIMITS_LOCK})")
"""Return whether no other dispatcher claims, so that together they keep the limits."""

COUNT_LEASED = Statement(f"SELECT project, count(*) AS number FROM job WHERE {IS_LEASED} GROUP BY project")
"""The number of published and running jobs by project. These are at most a few per worker process."""
