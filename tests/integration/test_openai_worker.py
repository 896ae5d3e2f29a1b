"""The worker with a model over real HTTP: what it stores, retries, leaves to the local enricher, never does."""

from datetime import timedelta
from typing import Any

import pytest

from devstack.network import wait_until
from tests.conftest import ApiFactory, WorkerFactory
from tests.support import completions
from tests.support.completions import Completions, completion, error_response
from tests.support.database import Database
from tests.support.injections import assert_plain, injections

KEY = completions.KEY
TITLE, DESCRIPTION = completions.TITLE, completions.DESCRIPTION
SENT, GOT = completions.PROMPT_TOKENS, completions.COMPLETION_TOKENS
SHORT = {"RETRY_DELAYS": "0.1,0.1,0.1", "DISPATCH_POLL_SECONDS": "0.1", "LOG_FORMAT": "json"}


def configured(server: Completions, **more: str) -> dict[str, str]:
    return {
        **SHORT,
        "AI_PROVIDER": "openai",
        "OPENAI_BASE_URL": server.base_url,
        "OPENAI_API_KEY": KEY,
        "OPENAI_MODEL": "a-model",
        **more,
    }


def made(database: Database) -> dict[str, Any]:
    (row,) = database.query(
        "SELECT e.*, i.ai_summary, i.tags AS words, i.priority AS own FROM enrichment e, issue i"
    )
    return row


class TestInTheWorker:
    def test_an_issue_gets_the_models_answer(
        self, new_api: ApiFactory, new_worker: WorkerFactory, database: Database, server: Completions
    ) -> None:
        api = new_api(SHORT)
        worker = new_worker(configured(server, OPENAI_PRICE_IN="1", OPENAI_PRICE_OUT="4"))
        api.post(TITLE, description=DESCRIPTION)
        database.wait_for_states({"succeeded": 1})

        row = made(database)
        assert row["ai_summary"] == row["summary"] == "AI Summary: The export of a report has no rows"
        assert row["words"] == "bug,backend"
        provenance = row["provenance"]
        assert (provenance["provider"], provenance["model"]) == ("openai", completions.MODEL)
        assert (provenance["prompt_tokens"], provenance["completion_tokens"]) == (SENT, GOT)
        assert provenance["cost"] == pytest.approx((SENT + 4 * GOT) / 1e6)
        assert KEY not in str(worker.log)

    def test_a_server_that_is_down_is_asked_again_by_the_schedule(
        self, new_api: ApiFactory, new_worker: WorkerFactory, database: Database, server: Completions
    ) -> None:
        server.then(error_response(503), completions.truncated_response, completion(completions.GOOD))
        api = new_api(SHORT)
        new_worker(configured(server))
        api.post(TITLE, description=DESCRIPTION)
        database.wait_for_states({"succeeded": 1})

        job_id = database.one("SELECT id FROM job WHERE queue = 'issues'")
        errors = [failure["error"] for failure in database.failures(job_id)]
        assert [error.split(":")[0] for error in errors] == ["ProviderError", "NoAnswer"]
        assert made(database)["provenance"]["provider"] == "openai"
        # Told after the job's end is written.
        wait_until(lambda: database.one("SELECT count(*) FROM circuit") == 0, 30, "the circuit to be closed")

    def test_a_server_that_stays_down_leaves_the_last_attempt_to_the_local_enricher(
        self, new_api: ApiFactory, new_worker: WorkerFactory, database: Database, server: Completions
    ) -> None:
        server.then(error_response(503))
        api = new_api(SHORT)
        new_worker(configured(server))
        api.post(TITLE, description=DESCRIPTION)
        database.wait_for_states({"succeeded": 1})

        row = made(database)
        assert row["provenance"]["provider"] == "local"
        assert row["provenance"]["fallback"].startswith("last attempt failed: status 503")
        assert row["ai_summary"].startswith("AI Summary: Export is empty")
        assert len(server.requests) == 4
        # Told after the job's end is written. A result without the provider mends no circuit.
        wait_until(lambda: database.one("SELECT failures FROM circuit") == 4, 30, "the circuit to count it")

    def test_a_used_up_budget_is_told(
        self, new_api: ApiFactory, new_worker: WorkerFactory, database: Database, server: Completions
    ) -> None:
        api = new_api(SHORT)
        new_worker(configured(server, OPENAI_DAILY_TOKENS="1"))
        api.post(TITLE, description=DESCRIPTION)
        database.wait_for_states({"succeeded": 1})

        assert made(database)["provenance"]["fallback"] == "the daily token budget is used up"
        assert server.requests == []

    def test_a_rate_limit_delays_the_next_attempt(
        self, new_api: ApiFactory, new_worker: WorkerFactory, database: Database, server: Completions
    ) -> None:
        server.then(error_response(429, retry_after="600"))
        api = new_api(SHORT)
        new_worker(configured(server))
        api.post(TITLE, description=DESCRIPTION)
        database.wait_for_states({"retrying": 1})

        job_id = database.one("SELECT id FROM job WHERE queue = 'issues'")
        (failure,) = database.failures(job_id)
        assert database.job(job_id)["run_at"] - failure["failed_at"] == timedelta(seconds=600)

    def test_orders_in_issues_change_nothing_but_their_summary_and_tags(
        self, new_api: ApiFactory, new_worker: WorkerFactory, database: Database, server: Completions
    ) -> None:
        orders = injections()
        server.then(*[completions.prompt_injected(order.title, order.description) for order in orders])
        api = new_api(SHORT)
        for order in orders:
            assert api.post(order.title, description=order.description, priority="low").status_code == 201
        before = database.query("SELECT id, project, title, description, priority, status FROM issue ORDER BY id")

        new_worker(configured(server))
        database.wait_for_states({"succeeded": len(orders)})

        providers = database.query(
            "SELECT provenance->>'provider' AS name, provenance->>'fallback' AS why FROM enrichment"
        )
        assert {(row["name"], row["why"]) for row in providers} == {("openai", None)}
        after = database.query("SELECT id, project, title, description, priority, status FROM issue ORDER BY id")
        assert after == before
        for row in database.query("SELECT ai_summary, tag_list FROM issue"):
            assert_plain(row["ai_summary"])
            assert {tag for tag in row["tag_list"] if not tag.startswith("lang:")} == {"api", "bug", "security"}
        assert database.one("SELECT count(*) FROM tag_feedback") == 0
