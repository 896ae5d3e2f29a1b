"""The provider over real HTTP: with a real model server and with a server that causes every fault."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker
from structlog.testing import capture_logs

from app.enrichment.interface import Enrichment, IssueText, Tag
from app.enrichment.local import LocalEnricher
from app.enrichment.remote import provider
from app.enrichment.remote.answer import SUMMARY_MAX
from app.enrichment.remote.budget import DailyBudget
from app.enrichment.remote.endpoint import Endpoint
from app.enrichment.remote.prompt import read_instructions
from app.enrichment.remote.provider import Limits, OpenAIEnricher, Prices
from app.ledger.errors import ProviderError
from contracts.states import Priority
from contracts.vocabulary import is_tag
from tests.support import completions, llm
from tests.support.completions import Completions, Step, completion, error_response, raw
from tests.support.database import Database
from tests.support.injections import Injection, assert_plain, assert_without_effect, injections
from tests.support.servers import Servers

KEY = completions.KEY
ISSUE = IssueText(completions.TITLE, completions.DESCRIPTION)
LIMITS = Limits(input_bytes=8192, output_tokens=300, seconds=60)
PROMPT_TOKENS, COMPLETION_TOKENS = completions.PROMPT_TOKENS, completions.COMPLETION_TOKENS

EnricherFactory = Callable[..., OpenAIEnricher]


@pytest.fixture
def sessions(servers: Servers, database: Database) -> Iterator[sessionmaker[Session]]:
    del database
    engine = create_engine(servers.database_url.replace("postgresql:", "postgresql+psycopg2:"))
    yield sessionmaker(engine)
    engine.dispose()


@pytest.fixture
def new_enricher(sessions: sessionmaker[Session]) -> Iterator[EnricherFactory]:
    created: list[OpenAIEnricher] = []

    def make(
        base_url: str,
        *,
        seconds: float = LIMITS.seconds,
        daily_tokens: int | None = None,
        prices: Prices | None = None,
    ) -> OpenAIEnricher:
        created.append(
            OpenAIEnricher(
                Endpoint(base_url, SecretStr(KEY), "a-model"),
                DailyBudget(sessions, "openai", daily_tokens),
                LocalEnricher(),
                replace(LIMITS, seconds=seconds),
                prices,
            )
        )
        return created[-1]

    yield make
    for enricher in created:
        enricher.close()


@pytest.fixture
def enricher(new_enricher: EnricherFactory, server: Completions) -> OpenAIEnricher:
    return new_enricher(server.base_url)


def is_local_result(result: Enrichment, reason: str) -> bool:
    """Return whether the local enricher produced the result and the fallback contains the reason."""
    plain = LocalEnricher().enrich(ISSUE)
    fallback = result.provenance.fallback or ""
    return (
        (result.summary, result.tags) == (plain.summary, plain.tags)
        and result.provenance.provider == "local"
        and reason in fallback
    )


def usage(database: Database) -> tuple[int, int]:
    """Return the sums of all days, because a test may run over midnight."""
    (row,) = database.query(
        "SELECT sum(requests)::int AS requests, sum(tokens)::bigint AS tokens FROM provider_usage"
        " WHERE provider = 'openai'"
    )
    return row["requests"], row["tokens"]


class TestValidResponse:
    def test_valid_response_becomes_enrichment_with_provenance(
        self, new_enricher: EnricherFactory, server: Completions, database: Database
    ) -> None:
        result = new_enricher(server.base_url, prices=Prices(prompt=2.0, completion=10.0)).enrich(ISSUE)

        assert result.summary == "AI Summary: The export of a report has no rows"
        assert result.tags == (Tag("bug", 0.9), Tag("backend", 0.7))
        assert result.priority is None
        assert result.provenance.as_dict() == {
            "provider": "openai",
            "model": completions.MODEL,
            "version": "schema-1",
            "prompt_version": "enrich-1",
            "input_sha256": ISSUE.digest(),
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": COMPLETION_TOKENS,
            "cost": pytest.approx((PROMPT_TOKENS * 2 + COMPLETION_TOKENS * 10) / 1e6),
        }
        assert usage(database) == (1, PROMPT_TOKENS + COMPLETION_TOKENS)

    def test_request_is_single_bounded_and_without_tools(
        self, enricher: OpenAIEnricher, server: Completions
    ) -> None:
        enricher.enrich(ISSUE)

        (request,) = server.requests
        assert request.path == "/v1/chat/completions"
        assert {
            name: value for name, value in request.body.items() if name not in {"messages", "response_format"}
        } == {
            "model": "a-model",
            "temperature": 0,
            "max_tokens": 300,
        }
        form = request.body["response_format"]
        assert (form["type"], form["json_schema"]["strict"]) == ("json_schema", True)
        assert [message["role"] for message in request.messages] == ["system", "user"]
        assert request.issue == {"title": ISSUE.title, "description": ISSUE.description}
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert KEY.encode() not in request.raw

    def test_priority_without_reason_is_dropped(self, enricher: OpenAIEnricher, server: Completions) -> None:
        server.then(completion({**completions.GOOD, "priority": {"value": "high", "reason": "rows are lost"}}))
        with_reason = enricher.enrich(ISSUE).priority
        server.then(completion({**completions.GOOD, "priority": {"value": "high", "reason": " "}}))

        assert with_reason is not None
        assert (with_reason.value, with_reason.reason) == (Priority.HIGH, "rows are lost")
        assert enricher.enrich(ISSUE).priority is None

    @pytest.mark.parametrize(
        ("reason", "is_kept"),
        [
            ('It reports "{quote}".', True),
            ("It reports \u201c{quote}\u201d.", True),
            ('It reports "all servers are on fire".', False),
            ("It reports 'all servers are on fire'.", False),
            ("It reports \u201eall servers are on fire\u201c.", False),
            ("It's the users' data, the reporter's words", True),
        ],
    )
    def test_priority_reason_with_invented_quotation_is_dropped(
        self, enricher: OpenAIEnricher, server: Completions, reason: str, is_kept: bool
    ) -> None:
        quote = " ".join(ISSUE.description.split()[:3])
        priority = {"value": "high", "reason": reason.format(quote=quote)}
        server.then(completion({**completions.GOOD, "priority": priority}))

        assert (enricher.enrich(ISSUE).priority is not None) is is_kept

    def test_tags_are_sorted_by_type_and_confidence(self, enricher: OpenAIEnricher, server: Completions) -> None:
        guesses = {
            "type": {"name": "bug", "confidence": "low"},
            "area": {"name": "api", "confidence": "medium"},
            "second_area": {"name": "backend", "confidence": "high"},
        }
        server.then(completion({**completions.GOOD, **guesses}))

        assert [tag.name for tag in enricher.enrich(ISSUE).tags] == ["bug", "backend", "api"]

    def test_response_with_summary_only_is_accepted(self, enricher: OpenAIEnricher, server: Completions) -> None:
        server.then(completion({"summary": "Something is wrong"}))

        result = enricher.enrich(ISSUE)

        assert (result.summary, result.tags, result.priority) == ("AI Summary: Something is wrong", (), None)

    def test_issue_in_other_language_gets_language_tag(self, enricher: OpenAIEnricher) -> None:
        issue = IssueText(
            "Export ist leer",
            "Seit dem letzten Update hat der Export von einem Bericht keine Zeilen, das ist nicht gut.",
        )

        result = enricher.enrich(issue)

        assert result.language == "de"
        assert [tag.name for tag in result.tags] == ["bug", "lang:de", "backend"]
        assert enricher.enrich(ISSUE).language == "en"

    def test_response_without_usage_is_charged_with_reservation(
        self, enricher: OpenAIEnricher, server: Completions, database: Database
    ) -> None:
        server.then(completion(completions.GOOD, usage=False))

        provenance = enricher.enrich(ISSUE).provenance

        assert provenance.provider == "openai"
        assert (provenance.prompt_tokens, provenance.cost) == (None, None)
        assert usage(database)[1] > len(server.requests[0].raw) / 2

    def test_same_issue_sends_identical_request(self, enricher: OpenAIEnricher, server: Completions) -> None:
        assert enricher.enrich(ISSUE) == enricher.enrich(ISSUE)
        assert server.requests[0].raw == server.requests[1].raw


INVALID_RESPONSES: dict[str, Step] = {
    "text": completion("I am happy to help! This is a bug."),
    "half_json": completion('{"summary": "The exp'),
    "truncated": completion('{"summary": "The exp', finish="length"),
    "no_content": completion(None),
    "unknown_type": completion({**completions.GOOD, "type": {"name": "urgent", "confidence": "high"}}),
    "unknown_area": completion({**completions.GOOD, "area": {"name": "pwned", "confidence": "high"}}),
    "numeric_confidence": completion({**completions.GOOD, "type": {"name": "bug", "confidence": 17}}),
    "list": completion([1, 2]),
    "no_summary": completion({"type": None, "area": None, "second_area": None, "priority": None}),
    "markup_summary": completion({**completions.GOOD, "summary": "![](http://a.example/b) @@ <b></b>"}),
    "endless_json": completion("[" * 5000),
    "no_choices": raw(b'{"choices": [], "model": "m"}'),
    "no_message": raw(b'{"choices": [{}]}'),
    "other_json": raw(b'{"hello": "world"}'),
    "garbage": raw(b"\x00\xff\xfe garbage"),
    "empty": raw(b""),
    "html_page": raw(b"<html><body>Welcome</body></html>", content_type="text/html"),
    "endless_body": completions.endless_body,
    "compressed": raw(b"\x1f\x8b\x08\x00", content_encoding="gzip"),
}


class TestInvalidResponse:
    @pytest.mark.parametrize("name", INVALID_RESPONSES)
    def test_invalid_response_is_repaired_with_one_request(
        self, name: str, enricher: OpenAIEnricher, server: Completions, database: Database
    ) -> None:
        server.then(INVALID_RESPONSES[name], completion(completions.GOOD))

        result = enricher.enrich(ISSUE)

        assert result.provenance.provider == "openai"
        assert result.summary == "AI Summary: The export of a report has no rows"
        assert len(server.requests) == 2
        assert usage(database)[0] == 2

    @pytest.mark.parametrize("name", INVALID_RESPONSES)
    def test_second_invalid_response_falls_back_to_local_enricher(
        self, name: str, enricher: OpenAIEnricher, server: Completions
    ) -> None:
        server.then(INVALID_RESPONSES[name])

        result = enricher.enrich(ISSUE)

        assert is_local_result(result, "the answer cannot be used: ")
        assert len(server.requests) == 2, result.provenance

    def test_repair_request_contains_invalid_response_and_error(
        self, enricher: OpenAIEnricher, server: Completions
    ) -> None:
        server.then(INVALID_RESPONSES["unknown_type"], completion(completions.GOOD))

        result = enricher.enrich(ISSUE)

        first, second = (request.messages for request in server.requests)
        assert second[:2] == first
        assert second[2]["role"] == "assistant"
        assert "urgent" in second[2]["content"]
        assert second[3]["role"] == "user"
        assert (
            "type.name: The value is not valid. Use bug, feature, question or documentation. Answer again"
            in second[3]["content"]
        )
        assert (result.provenance.prompt_tokens, result.provenance.completion_tokens) == (
            2 * PROMPT_TOKENS,
            2 * COMPLETION_TOKENS,
        )

    def test_invalid_response_is_included_in_cost(
        self, new_enricher: EnricherFactory, server: Completions
    ) -> None:
        server.then(INVALID_RESPONSES["text"])

        provenance = new_enricher(server.base_url, prices=Prices(1.0, 1.0)).enrich(ISSUE).provenance

        assert provenance.provider == "local"
        assert (provenance.prompt_tokens, provenance.completion_tokens) == (
            2 * PROMPT_TOKENS,
            2 * COMPLETION_TOKENS,
        )
        assert provenance.cost == pytest.approx(2 * (PROMPT_TOKENS + COMPLETION_TOKENS) / 1e6)

    def test_response_with_excess_content_is_truncated(
        self, enricher: OpenAIEnricher, server: Completions
    ) -> None:
        area = {"name": "api", "confidence": "low"}
        response = {"area": area, "second_area": {**area, "confidence": "high"}, "status": "closed"}
        server.then(completion({**completions.GOOD, "summary": "word " * 500, **response}))

        result = enricher.enrich(ISSUE)

        assert result.tags == (Tag("bug", 0.9), Tag("api", 0.5))
        assert len(result.summary) <= len("AI Summary: ") + SUMMARY_MAX
        assert result.summary.endswith("word…")


class TestRejectedRequest:
    @pytest.mark.parametrize(
        ("response", "reason"),
        [
            (
                error_response(401, "invalid_api_key", f"Incorrect API key provided: {KEY}"),
                "status 401 error invalid_api_key",
            ),
            (error_response(403), "status 403"),
            (error_response(404, "model_not_found"), "status 404 error model_not_found"),
            (error_response(400, "unsupported_parameter"), "status 400"),
            (error_response(422), "status 422"),
            (error_response(429, "insufficient_quota"), "status 429 error insufficient_quota"),
            (raw(b"", 302, location="http://127.0.0.1:1/elsewhere"), "status 302"),
            (raw(b"<h1>Forbidden</h1>", 403, content_type="text/html"), "status 403"),
            (completion(None, refusal="I cannot help with that"), "the model declined"),
            (completion("", finish="content_filter"), "the model declined"),
        ],
    )
    def test_rejected_request_is_not_repeated(
        self,
        response: Step,
        reason: str,
        enricher: OpenAIEnricher,
        server: Completions,
        database: Database,
    ) -> None:
        server.then(response)

        with capture_logs() as lines:
            result = enricher.enrich(ISSUE)

        assert is_local_result(result, reason)
        assert len(server.requests) == 1
        assert usage(database)[1] in {0, PROMPT_TOKENS + COMPLETION_TOKENS}
        assert any(reason in line["reason"] for line in lines)
        assert KEY not in f"{lines}{result}"

    def test_request_beyond_context_is_repeated_with_shorter_text(
        self, enricher: OpenAIEnricher, server: Completions
    ) -> None:
        server.then(error_response(400, "context_length_exceeded"), completion(completions.GOOD))
        issue = IssueText("Export is empty", "The export of a report has no rows. " * 500)

        result = enricher.enrich(issue)

        assert result.provenance.provider == "openai"
        long, short = (len(request.issue["description"]) for request in server.requests)
        assert long > 8000
        assert short <= 2048

    @pytest.mark.parametrize(
        "response",
        [
            error_response(400, "context_length_exceeded"),
            error_response(400, message="This model's maximum context length is 10 tokens."),
            raw(b'{"error": {"code": 400, "message": "too large", "type": "exceed_context_size_error"}}', 400),
            error_response(413),
        ],
    )
    def test_request_beyond_context_twice_falls_back_to_local_enricher(
        self, response: Step, enricher: OpenAIEnricher, server: Completions
    ) -> None:
        server.then(response)

        assert is_local_result(enricher.enrich(ISSUE), "longer than the model's context")
        assert len(server.requests) == 2


class TestFailingServer:
    @pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
    def test_temporary_status_raises_provider_error(
        self, status: int, enricher: OpenAIEnricher, server: Completions, database: Database
    ) -> None:
        server.then(error_response(status, message=f"the key {KEY} is fine, but"))

        with pytest.raises(ProviderError, match=f"^status {status}") as caught:
            enricher.enrich(ISSUE)

        assert caught.value.retry_after_s is None
        assert KEY not in repr(caught.value)
        assert caught.value.__cause__ is None
        assert len(server.requests) == 1
        assert usage(database) == (1, 0)

    @pytest.mark.parametrize("status", [429, 503])
    def test_retry_after_header_sets_delay(
        self, status: int, enricher: OpenAIEnricher, server: Completions
    ) -> None:
        server.then(
            error_response(status, retry_after="600"),
            error_response(
                status, retry_after=format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
            ),
            error_response(status, retry_after="soon"),
        )

        delays = []
        for _ in range(3):
            with pytest.raises(ProviderError) as caught:
                enricher.enrich(ISSUE)
            delays.append(caught.value.retry_after_s)

        assert delays == [600, pytest.approx(3600, abs=60), None]

    @pytest.mark.parametrize("step", [completions.no_response, completions.slow_body, completions.slow_headers])
    def test_slow_server_times_out(
        self, step: Step, new_enricher: EnricherFactory, server: Completions, database: Database
    ) -> None:
        server.then(step)
        enricher = new_enricher(server.base_url, seconds=3)

        with pytest.raises(ProviderError, match=r"no response within \d+ s"):
            enricher.enrich(ISSUE)

        assert usage(database)[1] > 300, (
            "a timed out request must be charged because the server may have processed it"
        )
        server.then(completion(completions.GOOD))
        assert new_enricher(server.base_url).enrich(ISSUE).provenance.provider == "openai"

    def test_truncated_response_raises_provider_error(self, enricher: OpenAIEnricher, server: Completions) -> None:
        server.then(completions.truncated_response)

        with pytest.raises(ProviderError, match="the connection was lost"):
            enricher.enrich(ISSUE)

    def test_unreachable_server_is_not_charged(self, new_enricher: EnricherFactory, database: Database) -> None:
        enricher = new_enricher("http://127.0.0.1:1/v1")

        with pytest.raises(ProviderError, match="the server cannot be reached: ConnectError"):
            enricher.enrich(ISSUE)

        assert usage(database) == (1, 0)

    def test_repair_beyond_time_limit_is_not_sent(
        self, enricher: OpenAIEnricher, server: Completions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(provider, "LAST_SECONDS", LIMITS.seconds)
        server.then(INVALID_RESPONSES["text"])

        assert is_local_result(enricher.enrich(ISSUE), "the answer cannot be used")
        assert len(server.requests) == 1


class TestDailyBudget:
    def test_exhausted_budget_sends_no_request(
        self, new_enricher: EnricherFactory, server: Completions, database: Database
    ) -> None:
        enricher = new_enricher(server.base_url, daily_tokens=8000)
        results = [enricher.enrich(ISSUE) for _ in range(12)]

        delays = len(server.requests)
        assert 0 < delays < 12
        assert [result.provenance.provider for result in results] == ["openai"] * delays + ["local"] * (
            12 - delays
        )
        assert all(is_local_result(result, "token budget is used up") for result in results[delays:])
        assert usage(database) == (delays, delays * (PROMPT_TOKENS + COMPLETION_TOKENS))

    def test_budget_ignores_usage_of_previous_day(
        self, new_enricher: EnricherFactory, server: Completions, database: Database
    ) -> None:
        database.query(
            "INSERT INTO provider_usage (provider, day, requests, tokens)"
            " VALUES ('openai', (now() AT TIME ZONE 'UTC')::date - 1, 9, 999999)"
        )

        assert new_enricher(server.base_url, daily_tokens=100_000).enrich(ISSUE).provenance.fallback is None

    def test_budget_below_one_request_sends_no_request(
        self, new_enricher: EnricherFactory, server: Completions
    ) -> None:
        assert is_local_result(new_enricher(server.base_url, daily_tokens=1).enrich(ISSUE), "token budget")
        assert server.requests == []

    def test_budget_with_concurrent_reservations_is_not_exceeded(
        self, sessions: sessionmaker[Session], database: Database
    ) -> None:
        budget = DailyBudget(sessions, "openai", 1000)

        with ThreadPoolExecutor(8) as pool:
            created = [
                reservation for reservation in pool.map(lambda _: budget.reserve(90), range(40)) if reservation
            ]

        assert len(created) == 11
        assert usage(database) == (11, 990)
        for reservation in created:
            budget.settle(reservation, 10)
        assert usage(database) == (11, 110)

    @pytest.mark.parametrize("reported_tokens", [-5, 10**30])
    def test_budget_with_invalid_usage_stays_in_range(
        self, reported_tokens: int, enricher: OpenAIEnricher, server: Completions, database: Database
    ) -> None:
        content = json.dumps({"summary": "It is empty"})
        response = {"choices": [{"message": {"content": content}}], "usage": {"prompt_tokens": reported_tokens}}
        server.then(raw(json.dumps(response).encode()))

        enricher.enrich(ISSUE)

        assert 0 <= usage(database)[1] <= 10**9


class TestPromptInjection:
    """A model that obeys injected instructions can change only the fields of the schema."""

    @pytest.mark.parametrize("injection", injections(), ids=lambda injection: injection.goal)
    def test_prompt_injection_with_obeying_model_has_no_effect(
        self, injection: Injection, enricher: OpenAIEnricher, server: Completions
    ) -> None:
        server.then(completions.prompt_injected(injection.title, injection.description))

        result = enricher.enrich(IssueText(injection.title, injection.description))

        assert result.provenance.provider == "openai"
        assert_without_effect(result)
        assert_plain(result.summary)
        if result.priority is not None:  # None if its reason quotes words that the issue does not contain
            assert_plain(result.priority.reason)
        (request,) = server.requests
        assert {*request.body} == {"model", "messages", "response_format", "temperature", "max_tokens"}
        assert [message["role"] for message in request.messages] == ["system", "user"]
        assert request.messages[0]["content"] == read_instructions()
        assert KEY.encode() not in request.raw

    @pytest.mark.parametrize("injection", injections(), ids=lambda injection: injection.goal)
    def test_prompt_injection_repeated_by_model_falls_back_to_local_enricher(
        self, injection: Injection, enricher: OpenAIEnricher, server: Completions
    ) -> None:
        server.then(completion(injection.description))

        result = enricher.enrich(IssueText(injection.title, injection.description))

        assert result.provenance.provider == "local"
        assert len(server.requests) == 2


@pytest.fixture(scope="module")
def model() -> Iterator[llm.ModelServer]:
    server = llm.ModelServer()
    yield server
    server.close()


@pytest.mark.nightly
class TestRealModel:
    """These tests check the format and the usage of the responses. The content is arbitrary."""

    def test_real_model_response_is_valid_and_deterministic(
        self, model: llm.ModelServer, new_enricher: EnricherFactory, database: Database
    ) -> None:
        enricher = new_enricher(model.base_url, seconds=120)

        first, second = enricher.enrich(ISSUE), enricher.enrich(ISSUE)

        assert first.provenance.fallback is None
        assert first.provenance.provider == "openai"
        assert "SmolLM2" in first.provenance.model
        assert (first.summary, first.tags, first.priority) == (second.summary, second.tags, second.priority)
        assert all(is_tag(tag.name) for tag in first.tags)
        assert first.provenance.prompt_tokens
        assert first.provenance.completion_tokens
        assert usage(database)[1] == sum(
            (result.provenance.prompt_tokens or 0) + (result.provenance.completion_tokens or 0)
            for result in (first, second)
        )

    def test_real_model_with_small_context_gets_shorter_text(
        self, model: llm.ModelServer, new_enricher: EnricherFactory
    ) -> None:
        issue = IssueText("Export is empty", "The export of a report has no rows at all. " * 180)

        result = new_enricher(model.base_url, seconds=150).enrich(issue)

        assert result.provenance.fallback is None
        assert 0 < (result.provenance.prompt_tokens or 0) < llm.CONTEXT_TOKENS
