"""The SQL that finds lanes: the waiting jobs of a queue with the same priority class, project and task."""

from contracts.ledger.states import IS_WAITING


def scan_lanes(queue: str, priority_class: str, where: str = "true") -> str:
    """Return the query of `project`, `task` and `run_at` of the oldest job of each lane, by project and task.

    The arguments are SQL expressions; `where` limits `project` and `task`. It is a loose index scan: one probe of
    `ix_job_lane` for each lane, independent of the number of its jobs. A limit stops the scan.
    """
    first = f"SELECT project, task, run_at FROM job WHERE queue = {queue} AND priority_class = {priority_class}"
    order = "ORDER BY project, task, run_at LIMIT 1"
    return f"""
    WITH RECURSIVE lane AS (
        ({first} AND {IS_WAITING} AND {where} {order})
        UNION ALL
        SELECT following.* FROM lane CROSS JOIN LATERAL (
            {first} AND {IS_WAITING} AND (project, task) > (lane.project, lane.task) {order}
        ) following
    )
    SELECT project, task, run_at FROM lane
    """
