"""Lists, filters and searches use an index with ten thousand issues."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import asyncpg
import pytest

from api.erasures import repository as erasures
from api.issues import listing, repository
from api.issues.schemas import IssueQuery
from api.issues.search import build_query
from app import pruning
from app.erasure import run
from app.erasure.statements import TRAINING_EXISTS
from contracts.ids import new_id
from contracts.ledger import dispatch
from contracts.states import IssueSort
from tests.support.database import Database
from tests.support.many_issues import make_issues
from tests.support.servers import Servers

NOW = datetime.now(UTC)
QUERIES = [
    "",
    *(f"sort={sort}" for sort in IssueSort if sort is not IssueSort.RELEVANCE),
    "status=open",
    "status=in_progress&sort=-updated",
    "priority=critical",
    "priority=low&sort=updated",
    "tag=bug",
    "tag=question&tag=lang:fr",
    "tag=bug&status=closed&priority=medium&sort=-updated",
    "enrichment=dead",
    "enrichment=retrying",
    "enrichment=succeeded",
    "enrichment=pending",
    "needs_review=true",
    "needs_review=false&status=open&sort=-priority",
    "project=project-3",
    f"created_after={NOW - timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}",
    f"updated_after={NOW - timedelta(days=15):%Y-%m-%dT%H:%M:%SZ}&sort=-updated",
    "q=word2900",
    "q=word1 word2",
    "q=word1&status=open&tag=bug",
    "q=word2900 or word2800&sort=-created",
    'q="word1 word0"&sort=-priority',
    "q=word2900 -word1",
    "q=word290*",
    "q=is:open tag:bug word2900",
    "q=external:1207",
    "external_id=1207",
    "external_source=github:acme/shop&external_id=1207&sort=updated",
    "q=created:>2026-11-01",
]


@pytest.fixture
def filled_database(database: Database) -> Database:
    make_issues(database, 10_000)
    return database


def explain(servers: Servers, *statements: tuple[str, list[Any]], **settings: str) -> list[str]:
    """Return the plan of each statement. `settings` are settings of the session."""

    async def fetch_plans() -> list[str]:
        connection = await asyncpg.connect(servers.database_url, server_settings=settings)
        plans = [
            "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {sql}", *values))
            for sql, values in statements
        ]
        await connection.close()
        return plans

    return asyncio.run(fetch_plans())


def compile_words(servers: Servers, queries: list[IssueQuery]) -> list[str | None]:
    """Return what `search.compile_terms` returns for each query."""

    async def compile_all() -> list[str | None]:
        connection = await asyncpg.connect(servers.database_url)
        compiled: list[str | None] = []
        for query in queries:
            sql, values = build_query(query.search)
            has_words = bool(query.search.terms)
            compiled.append(await connection.fetchval(f"SELECT ({sql})::text", *values) if has_words else None)
        await connection.close()
        return compiled

    return asyncio.run(compile_all())


def test_issue_list_query_uses_index(filled_database: Database, servers: Servers) -> None:
    queries = [
        IssueQuery.model_validate(
            {name: values if name == "tag" else values[0] for name, values in parse_qs(query).items()}
        )
        for query in QUERIES
    ]
    time, issue_id = NOW - timedelta(days=5), new_id()
    cursors = {3: (2, time, issue_id), 2: (time, issue_id), 4: (0.1, time, issue_id, time)}
    words = compile_words(servers, queries)
    statements = [
        listing.build_statement(query, query_words, after, 51, depth)
        for query, query_words in zip(queries, words, strict=True)
        for after in (None, cursors[len(listing.ORDERS[query.order].columns)])
        for depth in (None, 200)  # of 10,000 issues, as 2000 of many
    ]
    del filled_database

    # For few issues, a scan may be cheaper than an index.
    plans = explain(servers, *statements, enable_seqscan="off")
    for plan, (sql, values) in zip(plans, statements, strict=True):
        assert "Seq Scan on issue" not in plan, f"{sql}\n{values}\n{plan}"
        assert "Index" in plan


def test_single_issue_query_uses_index(filled_database: Database, servers: Servers) -> None:
    issue_id = filled_database.one("SELECT id FROM issue LIMIT 1")
    # For small tables, a scan is cheaper than an index.
    (plan,) = explain(servers, (repository.GET, [issue_id]), enable_seqscan="off")

    assert "Seq Scan" not in plan


def test_pruning_query_uses_index(filled_database: Database, servers: Servers) -> None:
    filled_database.query(
        "WITH job AS (INSERT INTO job (id, task, queue, message, state, finished_at)"
        " SELECT gen_random_uuid(), 'app.tasks.webhooks.deliver', 'default', '{}', 'succeeded', now()"
        " FROM generate_series(1, 20000) RETURNING id),"
        " failure AS (INSERT INTO job_failure (job_id, attempt, kind, error) SELECT id, 1, 'bug', 'Key' FROM job)"
        " INSERT INTO webhook_delivery (job_id, webhook_id, event)"
        f" SELECT id, '{new_id()}', 'issue.created' FROM job"
    )
    for table in ("job", "job_failure", "webhook_delivery"):
        filled_database.query(f"VACUUM ANALYZE {table}")

    for table in ("job", "job_failure", "webhook_delivery"):
        statement = pruning.STATEMENTS[table].replace(":kept", "'30 days'::interval")
        (plan,) = explain(servers, (statement, []))
        assert "Seq Scan" not in plan.replace("Seq Scan on webhook ", ""), f"{table}: {plan}"
        assert table != "job" or ("ix_job_ended" in plan and "ix_job_orphaned" in plan)


@pytest.mark.parametrize("projects", [1, 100])
def test_due_query_reads_only_index_of_lanes(database: Database, servers: Servers, projects: int) -> None:
    """Also if other projects have waited longer, and if one project has all jobs."""
    database.query(
        "INSERT INTO job (id, task, queue, message, project, run_at) SELECT gen_random_uuid(), 'tests.unconsumed',"
        " 'issues', '{}', 'project-' || mod(n, %s), now() - interval '1 h' FROM generate_series(1, 20000) AS n",
        projects,
    )
    database.query("VACUUM ANALYZE job")
    find = dispatch.FIND_LANES.bind(
        queue="issues", classes=[2], projects=["project-0"], tasks=["tests.unconsumed"]
    )
    claim = dispatch.CLAIM_DUE.bind(
        queue="issues",
        classes=[2],
        projects=["project-0"],
        tasks=["tests.unconsumed"],
        counts=[4],
        lease=timedelta(seconds=20),
    )

    found, claimed = explain(servers, (find[0], list(find[1:])), (claim[0], list(claim[1:])))

    assert found.count("Index Only Scan using ix_job_lane") == 4
    # The search of a queue without due jobs ends after one probe.
    assert found.count("Index Only Scan using ix_job_due") == found.count(" on job") - 4 == 1
    # The lanes of a paused queue are not read.
    assert "One-Time Filter" in found
    assert "Index Scan using ix_job_lane" in claimed
    assert "ix_job_due" not in claimed
    assert "Seq Scan on job" not in found + claimed


def test_statements_of_erasures_use_indexes(filled_database: Database, servers: Servers) -> None:
    filled_database.query("VACUUM ANALYZE issue")
    values = {"project": "'project-3'", "requested_at": "now()", "after": "now()", "after_id": f"'{new_id()}'"}
    of_project = re.sub(r":(\w+)", lambda match: values.get(match[1], match[0]), str(run.OF_PROJECT))
    training = TRAINING_EXISTS.replace(":project", "'project-3'")

    issues, has_issues, jobs = explain(
        servers,
        (of_project, []),
        (erasures.HAS_ISSUES, ["project-3"]),
        (f"SELECT EXISTS ({training})", []),
        enable_seqscan="off",
    )

    assert "ix_issue_project" in issues
    assert "ix_issue_project" in has_issues
    assert "Seq Scan" not in issues + has_issues + jobs
