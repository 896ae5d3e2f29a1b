"""The worker with a model over real HTTP: stored results, retries and fallback to the local enricher."""

from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import ApiFactory, WorkerFactory
from tests.support import completions
from tests.support.completions import Completions, completion, error_response
from tests.support.database import Database
from tests.support.injections import assert_plain, injections
from tests.support.waiting import wait_until

KEY = completions.KEY
TITLE, DESCRIPTION = completions.TITLE, completions.DESCRIPTION
PROMPT_TOKENS, COMPLETION_TOKENS = completions.PROMPT_TOKENS, completions.COMPLETION_TOKENS
SHORT = {"RETRY_DELAYS": "0.1,0.1,0.1", "DISPATCH_POLL_SECONDS": "0.1", "LOG_FORMAT": "json"}


def openai_settings(server: Completions, **more: str) -> dict[str, str]:
    return {
        **SHORT,
        "AI_PROVIDER": "openai",
        "OPENAI_BASE_URL": server.base_url,
        "OPENAI_API_KEY": KEY,
        "OPENAI_MODEL": "a-model",
        **more,
    }


def read_enrichment(database: Database) -> dict[str, Any]:
    (row,) = database.query(
        "SELECT e.*, i.ai_summary, i.tags AS words, i.priority AS own FROM enrichment e, issue i"
    )
    return row


class TestOpenAIWorker:
    def test_enrichment_by_model_is_stored(
        self, new_api: ApiFactory, new_worker: WorkerFactory, database: Database, server: Completions
    ) -> None:
        api = new_api(SHORT)
        worker = new_worker(openai_settings(server, OPENAI_PRICE_IN="1", OPENAI_PRICE_OUT="4"))
        api.post(TITLE, description=DESCRIPTION)
        database.wait_for_states({"succeeded": 1})

        row = read_enrichment(database)
        assert row["ai_summary"] == row["summary"] == "AI Summary: The export of a report has no rows"
        assert row["words"] == "bug,backend"
        provenance = row["provenance"]
        assert (provenance["provider"], provenance["model"]) == ("openai", completions.MODEL)
        assert (provenance["prompt_tokens"], provenance["completion_tokens"]) == (PROMPT_TOKENS, COMPLETION_TOKENS)
        assert provenance["cost"] == pytest.approx((PROMPT_TOKENS + 4 * COMPLETION_TOKENS) / 1e6)
        assert KEY not in str(worker.log)

    def test_enrichment_with_failing_server_is_retried(
        self, new_api: ApiFactory, new_worker: WorkerFactory, database: Database, server: Completions
    ) -> None:
        server.then(error_response(503), completions.truncated_response, completion(completions.GOOD))
        api = new_api(SHORT)
        new_worker(openai_settings(server))
        api.post(TITLE, description=DESCRIPTION)
        database.wait_for_states({"succeeded": 1})

        job_id = database.one("SELECT id FROM job WHERE queue = 'issues'")
        errors = [failure["error"] for failure in database.failures(job_id)]
        assert [error.split(":")[0] for error in errors] == ["ProviderError", "NoResponse"]
        assert read_enrichment(database)["provenance"]["provider"] == "openai"
        # The worker closes the circuit breaker after it completes the job.
        wait_until(lambda: database.one("SELECT count(*) FROM circuit") == 0, "the circuit breaker to close")

    def test_enrichment_on_last_attempt_falls_back_to_local_enricher(
        self, new_api: ApiFactory, new_worker: WorkerFactory, database: Database, server: Completions
    ) -> None:
        server.then(error_response(503))
        api = new_api(SHORT)
        new_worker(openai_settings(server))
        api.post(TITLE, description=DESCRIPTION)
        database.wait_for_states({"succeeded": 1})

        row = read_enrichment(database)
        assert row["provenance"]["provider"] == "local"
        assert row["provenance"]["fallback"].startswith("last attempt failed: status 503")
        assert row["ai_summary"].startswith("AI Summary: Export is empty")
        assert len(server.requests) == 4
        # The worker records the failure after the job. A local result does not close the circuit breaker.
        wait_until(
            lambda: database.one("SELECT failures FROM circuit") == 4,
            "the circuit breaker to count the failures",
        )

    def test_enrichment_with_exhausted_budget_has_fallback(
        self, new_api: ApiFactory, new_worker: WorkerFactory, database: Database, server: Completions
    ) -> None:
        api = new_api(SHORT)
        new_worker(openai_settings(server, OPENAI_DAILY_TOKENS="1"))
        api.post(TITLE, description=DESCRIPTION)
        database.wait_for_states({"succeeded": 1})

        assert read_enrichment(database)["provenance"]["fallback"] == "the daily token budget is used up"
        assert server.requests == []

    def test_enrichment_after_rate_limit_waits_for_retry_after(
        self, new_api: ApiFactory, new_worker: WorkerFactory, database: Database, server: Completions
    ) -> None:
        server.then(error_response(429, retry_after="600"))
        api = new_api(SHORT)
        new_worker(openai_settings(server))
        api.post(TITLE, description=DESCRIPTION)
        database.wait_for_states({"retrying": 1})

        job_id = database.one("SELECT id FROM job WHERE queue = 'issues'")
        (failure,) = database.failures(job_id)
        assert database.job(job_id)["run_at"] - failure["failed_at"] == timedelta(seconds=600)

    def test_enrichment_with_prompt_injection_changes_only_summary_and_tags(
        self, new_api: ApiFactory, new_worker: WorkerFactory, database: Database, server: Completions
    ) -> None:
        all_injections = injections()
        server.then(
            *[completions.prompt_injected(injection.title, injection.description) for injection in all_injections]
        )
        api = new_api(SHORT)
        for injection in all_injections:
            assert api.post(injection.title, description=injection.description, priority="low").status_code == 201
        before = database.query("SELECT id, project, title, description, priority, status FROM issue ORDER BY id")

        new_worker(openai_settings(server))
        database.wait_for_states({"succeeded": len(all_injections)})

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
