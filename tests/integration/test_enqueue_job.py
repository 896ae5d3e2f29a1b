"""SQL outside the services creates jobs by the function `enqueue_job`."""

from contracts.ledger.classes import PriorityClass
from contracts.names import Task
from tests.support.database import Database
from tests.support.processes import ROOT

_CREATORS = r"SELECT proname FROM pg_proc WHERE prosrc ~* 'insert\s+into\s+(public\.)?job\M'"


def test_functions_of_database_create_jobs_only_by_enqueue_job(database: Database) -> None:
    assert database.query(_CREATORS) == [{"proname": "enqueue_job"}]


def test_documented_indexing_after_upgrade_creates_background_jobs_of_project(database: Database) -> None:
    issue_id = database.one(
        "INSERT INTO issue (id, title, description, project, ai_summary)"
        " VALUES (gen_random_uuid(), 'Old', 'From 0.1.0', 'shop', 'A summary') RETURNING id"
    )
    page = (ROOT / "docs/how-to/upgrade.md").read_text()
    (sql,) = [block for block in page.split("```")[1::2] if "enqueue_job" in block]

    statement = sql.removeprefix("sql\n")
    assert len(database.query(statement)) == 1
    assert database.query(statement) == [], "repeated, it must return no row"

    (job,) = database.query("SELECT task, queue, issue_id, project, priority_class, message FROM job")
    assert (job["task"], job["queue"], job["issue_id"]) == (Task.INDEX_ISSUE, "default", issue_id)
    assert (job["project"], job["priority_class"]) == ("shop", PriorityClass.BACKGROUND)
    assert job["message"]["issue_id"] == issue_id
