"""Creates jobs, in the transaction that requires the work."""

from contracts.ledger.classes import PriorityClass
from contracts.ledger.statement import Statement
from contracts.ledger.states import IS_UNFINISHED


def insert_jobs(  # noqa: PLR0913 - one argument per column
    source: str,
    *,
    job_id: str,
    task: str,
    queue: str,
    message: str,
    issue_id: str = "NULL::uuid",
    project: str = "''",
    priority_class: str = str(PriorityClass.BACKGROUND.value),
    run_at: str = "now()",
) -> str:
    """Return the SQL that inserts a job for each row of `source`; the other arguments are SQL expressions."""
    return f"""
    INSERT INTO job (id, task, queue, message, issue_id, project, priority_class, run_at)
    SELECT {job_id}, {task}, {queue}, {message}, {issue_id}, {project}, {priority_class}, {run_at} FROM {source}
    """


_GIVEN = {"job_id": "CAST(:id AS uuid)", "task": "CAST(:task AS text)", "queue": "CAST(:queue AS text)"}
_MESSAGE = "CAST(:message AS jsonb)"

ENQUEUE = Statement(insert_jobs("(VALUES (1)) AS one", **_GIVEN, message=_MESSAGE))
"""Insert one job of class background. `message` is JSON: an object for asyncpg, a text for psycopg2."""

ENQUEUE_FOLLOWING = Statement(
    insert_jobs(
        "unnest(CAST(:ids AS uuid[]), CAST(:messages AS text[]), CAST(:causes AS uuid[]))"
        " AS given (id, message, cause) JOIN job AS cause ON cause.id = given.cause",
        job_id="given.id",
        task="CAST(:task AS text)",
        queue="CAST(:queue AS text)",
        message="given.message::jsonb",
        issue_id="cause.issue_id",
        project="cause.project",
        priority_class="cause.priority_class",
    )
)
"""Insert jobs that each follow a job `causes`, with its issue, project and class. The messages are JSON texts."""

ENQUEUE_UNLESS_UNFINISHED = Statement(
    insert_jobs(
        f"(SELECT WHERE NOT EXISTS (SELECT FROM job WHERE id = CAST(:last AS uuid) AND {IS_UNFINISHED})) AS one",
        **_GIVEN,
        message=_MESSAGE,
    )
    + "RETURNING id"
)
"""Insert one job of class background, unless the job `last` is unfinished; return its id if inserted."""

ENQUEUE_MANY = Statement(
    insert_jobs(
        "unnest(CAST(:ids AS uuid[]), CAST(:messages AS text[]), CAST(:issue_ids AS uuid[]))"
        " AS given (id, message, issue_id) JOIN issue ON issue.id = given.issue_id",
        job_id="given.id",
        task="CAST(:task AS text)",
        queue="CAST(:queue AS text)",
        message="given.message::jsonb",
        issue_id="issue.id",
        project="issue.project",
        run_at="now() + CAST(:delay AS interval)",
    )
)
"""Insert jobs of class background for issues, due after `delay`. The messages are JSON texts."""
