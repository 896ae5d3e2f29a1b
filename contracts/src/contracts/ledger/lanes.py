"""The SQL that finds lanes: the waiting jobs of a queue with the same priority class, project and task."""

from contracts.ledger.states import IS_WAITING


def scan_lanes(queue: str, priority_class: str, *, after: str = "('', '')", until: str | None = None) -> str:
    """Return the query of `project`, `task` and `run_at` of the oldest job of each lane, by project and task.

    The arguments are SQL expressions; the query starts behind the project and task `after` and ends with `until`.
    It is a loose index scan: one probe of `ix_job_lane` for each lane, independent of the number of its jobs. A
    limit stops the scan.
    """
    end = "" if until is None else f"AND (project, task) <= {until}"

    def find_first(after: str) -> str:
        return f"""
        SELECT project, task, run_at FROM job
        WHERE queue = {queue} AND priority_class = {priority_class} AND {IS_WAITING}
            AND (project, task) > {after} {end}
        ORDER BY project, task, run_at LIMIT 1
        """

    return f"""
    WITH RECURSIVE lane AS (
        ({find_first(after)})
        UNION ALL
        SELECT following.* FROM lane CROSS JOIN LATERAL ({find_first("(lane.project, lane.task)")}) following
    )
    SELECT project, task, run_at FROM lane
    """
