"""The enricher that queries a model. If the model cannot be used, the local enricher replaces it."""

import json
from dataclasses import dataclass, replace
from time import monotonic
from typing import Self

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.database.config import SyncSessionLocal
from app.enrichment.fallback import fall_back
from app.enrichment.interface import (
    Enricher,
    Enrichment,
    IssueText,
    PrioritySuggestion,
    Provenance,
    Tag,
    sort_tags,
)
from app.enrichment.language import detect_language
from app.enrichment.quotes import quotes_only
from app.enrichment.remote import answer, prompt
from app.enrichment.remote.answer import InvalidResponse, ParsedAnswer
from app.enrichment.remote.budget import DailyBudget, Reservation
from app.enrichment.remote.endpoint import Endpoint, NoResponse, PromptTooLong, ProviderRejected, Reply
from app.enrichment.remote.prompt import Conversation, Prose
from app.enrichment.sanitize import to_one_line
from app.ledger.errors import ProviderError
from app.metrics.providers import ProviderMetrics
from app.settings import WorkerSettings
from contracts.faults import safe_message

logger = structlog.get_logger(__name__)

PROVIDER = "openai"
SHORTER = 4
"""If the text does not fit the model's context, it is shortened by this factor, once."""
LAST_SECONDS = 1.0
"""With less time left, there is no second request."""
_OUTCOMES = {
    NoResponse: "no_answer",
    ProviderError: "unavailable",
    PromptTooLong: "too_long",
    ProviderRejected: "rejected",
    InvalidResponse: "invalid_response",
}
"""The metric label of each failure. The first matching class counts."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one enrichment: bytes of the issue, tokens of an answer, seconds for both requests."""

    input_bytes: int
    output_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices per million tokens."""

    prompt: float
    completion: float


@dataclass(slots=True)
class TokenUsage:
    """The token usage of the requests for one issue. None means that the server did not report it."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @classmethod
    def of(cls, reply: Reply) -> Self:
        """Return the usage of one reply."""
        return cls(reply.prompt_tokens, reply.completion_tokens)

    def add(self, reply: Reply) -> None:
        """Add the usage of one reply."""
        self.prompt_tokens = _sum(self.prompt_tokens, reply.prompt_tokens)
        self.completion_tokens = _sum(self.completion_tokens, reply.completion_tokens)

    def cost(self, prices: Prices | None) -> float | None:
        """Return the cost of the tokens, or None if the prices or the usage are unknown."""
        if prices is None or self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return round((self.prompt_tokens * prices.prompt + self.completion_tokens * prices.completion) / 1e6, 9)


class OpenAIEnricher:
    """Queries a server with an OpenAI-compatible API. If the answer cannot be used, it sends a second request.

    If the server is down, slow or busy, an error is raised, and the ledger retries the job. Any other failure
    ends with the local enricher's result, with the reason in its provenance.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        budget: DailyBudget,
        local: Enricher,
        limits: Limits,
        prices: Prices | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._budget = budget
        self._local = local
        self._limits = limits
        self._prices = prices
        self._metrics = ProviderMetrics(PROVIDER, endpoint.model)
        self._schema = answer.build_schema()
        self._schema_bytes = len(json.dumps(self._schema))

    @classmethod
    def configured(cls, chosen: WorkerSettings, local: Enricher) -> Self:
        """Return an enricher for the settings."""
        assert chosen.openai_base_url is not None
        assert chosen.openai_model is not None
        prices = None
        if chosen.openai_price_in is not None and chosen.openai_price_out is not None:
            prices = Prices(chosen.openai_price_in, chosen.openai_price_out)
        return cls(
            Endpoint(chosen.openai_base_url, chosen.openai_api_key, chosen.openai_model),
            DailyBudget(SyncSessionLocal, PROVIDER, chosen.openai_daily_tokens or None),
            local,
            Limits(chosen.openai_max_input_bytes, chosen.openai_max_output_tokens, chosen.openai_timeout_seconds),
            prices,
        )

    def close(self) -> None:
        """Close the connections."""
        self._endpoint.close()

    def enrich(self, issue: IssueText) -> Enrichment:
        """Enrich one issue; raise ProviderError if a retry may succeed."""
        usage = TokenUsage()
        prose = prompt.extract_prose(issue)
        try:
            found, model = self._query(prose, usage)
        except InvalidResponse as error:
            return self._enrich_locally(issue, f"the answer cannot be used: {error}", usage)
        except ProviderRejected as error:
            return self._enrich_locally(issue, str(error), usage)
        # Detected here, so that the result does not depend on the provider.
        language = detect_language(f"{prose.title}\n{prose.body}")
        tags = found.tags
        if language is not None and language.code != "en":
            tags = (*tags, Tag(f"lang:{language.code}", language.confidence))
        return Enrichment(
            summary=found.summary,
            tags=sort_tags(tags),
            provenance=Provenance(
                provider=PROVIDER,
                model=to_one_line(model or "", 100) or "unnamed",
                version=answer.VERSION,
                input_sha256=issue.digest(),
                prompt_version=prompt.VERSION,
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
                cost=usage.cost(self._prices),
            ),
            priority=_require_quotes(found.priority, prose),
            language=None if language is None else language.code,
        )

    def _enrich_locally(self, issue: IssueText, reason: str, usage: TokenUsage) -> Enrichment:
        """Enrich an issue locally. The provenance includes the tokens that were used in vain."""
        result = fall_back(self._local, issue, reason)
        provenance = replace(
            result.provenance,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cost=usage.cost(self._prices),
        )
        return replace(result, provenance=provenance)

    def _query(self, issue: Prose, usage: TokenUsage) -> tuple[ParsedAnswer, str | None]:
        ends = monotonic() + self._limits.seconds
        messages = prompt.build_conversation(issue, self._limits.input_bytes)
        try:
            return self._request(messages, ends, usage)
        except PromptTooLong as error:
            fault: ProviderRejected | InvalidResponse = error
            second = prompt.build_conversation(issue, self._limits.input_bytes // SHORTER)
        except InvalidResponse as error:
            fault = error
            second = prompt.build_repair(messages, error.answer, str(error)) if error.answer else messages
        if ends - monotonic() < LAST_SECONDS:
            raise fault
        return self._request(second, ends, usage)

    def _request(self, messages: Conversation, ends: float, usage: TokenUsage) -> tuple[ParsedAnswer, str | None]:
        """Send one request within the daily budget; raise InvalidResponse if the answer is not valid."""
        reservation = self._reserve(messages)
        with self._metrics.record_request(_OUTCOMES):
            return self._complete(messages, ends, usage, reservation)

    def _reserve(self, messages: Conversation) -> Reservation:
        most = prompt.bound_tokens(messages, self._schema_bytes) + self._limits.output_tokens
        reservation = self._budget.reserve(most)
        if reservation is None:
            raise ProviderRejected("the daily token budget is used up")
        return reservation

    def _complete(
        self, messages: Conversation, ends: float, usage: TokenUsage, reservation: Reservation
    ) -> tuple[ParsedAnswer, str | None]:
        try:
            reply = self._endpoint.complete(messages, self._schema, self._limits.output_tokens, ends - monotonic())
        except (NoResponse, InvalidResponse):
            # The usage is unknown, so the reservation remains.
            raise
        except (ProviderRejected, ProviderError):
            self._settle(reservation, 0)
            raise
        usage.add(reply)
        self._metrics.record_usage(
            reply.prompt_tokens, reply.completion_tokens, TokenUsage.of(reply).cost(self._prices)
        )
        used = _sum(reply.prompt_tokens, reply.completion_tokens)
        self._settle(reservation, reservation.tokens if used is None else used)
        if reply.is_declined:
            raise ProviderRejected("the model declined")
        if reply.is_cut:
            raise InvalidResponse(
                f"the answer was cut off after {self._limits.output_tokens} tokens; be shorter", reply.content
            )
        return answer.read(reply.content), reply.model

    def _settle(self, reservation: Reservation, tokens: int) -> None:
        try:
            self._budget.settle(reservation, tokens)
        except SQLAlchemyError as error:
            # Keep the paid answer although its usage is not recorded. The reservation, which is higher, remains.
            logger.warning("token_usage_update_failed", error=safe_message(error))


def _require_quotes(priority: PrioritySuggestion | None, issue: Prose) -> PrioritySuggestion | None:
    """Return the suggestion; None if its reason quotes words that the issue does not contain."""
    if priority is None or not quotes_only(priority.reason, f"{issue.title}\n{issue.body}"):
        return None
    return priority


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other
