"""Sends one request to a server with an OpenAI-compatible API, with limits, and classifies its errors."""

import asyncio
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import httpx2
from openai import APIConnectionError, APIStatusError, APITimeoutError, AsyncOpenAI
from pydantic import BaseModel, Field, SecretStr, ValidationError

from app.enrichment.remote.answer import InvalidResponse
from app.enrichment.remote.prompt import Conversation
from app.ledger.errors import ProviderError
from app.retry_after import parse_retry_after

if TYPE_CHECKING:
    from openai.types.shared_params import ResponseFormatJSONSchema

# At DEBUG these loggers write the text and the key. OPENAI_LOG, which the library reads, cannot enable it.
for _name in ("httpcore2", "httpx2", "openai"):
    logging.getLogger(_name).setLevel(logging.WARNING)

ANSWER_BYTES = 256 * 1024
"""The longest response that is read, with or without an error."""
CONNECT_SECONDS = 5.0

_CONTEXT_CODES = {"context_length_exceeded", "exceed_context_size_error"}
_CONTEXT_WORDS = re.compile(r"context (?:length|size|window)|maximum context", re.IGNORECASE)
_CODE = re.compile(r"[a-z0-9_.-]{1,40}")
_RETRYABLE_STATUSES = {408, 409, 425, 429}
_CONNECT_ERRORS = (httpx2.ConnectError, httpx2.ConnectTimeout)


class ProviderRejected(Exception):
    """The server rejected the request permanently. It is not retryable: an operator must act."""


class PromptTooLong(ProviderRejected):
    """The request does not fit the model's context."""


class NoResponse(ProviderError):
    """The server received the request but sent no complete response. It may have used tokens."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's answer, and the usage that the server reports. None means not reported."""

    content: str
    is_cut: bool
    is_declined: bool
    model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = Field(default=None, ge=0)
    completion_tokens: int | None = Field(default=None, ge=0)


class _Completion(BaseModel):
    """The fields of a completion that are read. Others are ignored."""

    choices: list[_Choice] = Field(min_length=1)
    model: str | None = None
    usage: _Usage | None = None


class Endpoint:
    """A server at an address. Use it from one thread at a time.

    Each call runs the asynchronous client until it finishes. Only an asynchronous task can be cancelled in every
    phase, including name resolution and a response of one byte per second.
    """

    def __init__(self, base_url: str, api_key: SecretStr | None, model: str) -> None:
        self.model = model
        self._runner = asyncio.Runner()
        self._client = AsyncOpenAI(
            base_url=base_url,
            # The library requires a key, but servers on this machine need none.
            api_key=api_key.get_secret_value() if api_key else "none",
            max_retries=0,
            # The ledger retries. Redirects are not followed, so that an issue's text goes only to this address.
            http_client=httpx2.AsyncClient(follow_redirects=False, event_hooks={"response": [_bound]}),
            # A few compressed bytes can expand to a gigabyte.
            default_headers={"Accept-Encoding": "identity"},
        )

    def close(self) -> None:
        """Close the connections."""
        self._runner.run(self._client.close())
        self._runner.close()

    def complete(self, messages: Conversation, schema: dict[str, Any], max_tokens: int, seconds: float) -> Reply:
        """Return the model's answer; raise ProviderRejected, ProviderError or InvalidResponse."""
        form: ResponseFormatJSONSchema = {
            "type": "json_schema",
            "json_schema": {"name": "enrichment", "strict": True, "schema": schema},
        }
        request = self._client.chat.completions.with_raw_response.create(
            model=self.model,
            messages=messages,
            response_format=form,
            temperature=0,
            max_tokens=max_tokens,
            timeout=httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)),
        )
        try:
            # The messages of the library's errors quote the server, which may quote the key. Do not pass them on.
            response = self._runner.run(asyncio.wait_for(request, seconds))
        except (TimeoutError, APITimeoutError) as error:
            if isinstance(error.__cause__, httpx2.ConnectTimeout):
                raise ProviderError(
                    f"the server cannot be reached within {min(seconds, CONNECT_SECONDS):g} s"
                ) from None
            raise NoResponse(f"no response within {seconds:.0f} s") from None
        except APIConnectionError as error:
            _raise_disconnected(error.__cause__)
        except APIStatusError as error:
            _raise_status(error)
        return _read(response.content)


def _read(content: bytes) -> Reply:
    try:
        completion = _Completion.model_validate_json(content)
    except ValidationError:
        raise InvalidResponse("the server's response is not a chat completion") from None
    choice, usage = completion.choices[0], completion.usage or _Usage()
    return Reply(
        choice.message.content or "",
        choice.finish_reason == "length",
        bool(choice.message.refusal) or choice.finish_reason == "content_filter",
        completion.model,
        usage.prompt_tokens,
        usage.completion_tokens,
    )


def _raise_disconnected(cause: BaseException | None) -> NoReturn:
    name = type(cause).__name__
    if isinstance(cause, _CONNECT_ERRORS):
        raise ProviderError(f"the server cannot be reached: {name}") from None
    raise NoResponse(f"the connection was lost: {name}") from None


def _raise_status(error: APIStatusError) -> NoReturn:
    status = error.status_code
    codes = {str(code) for code in (error.code, error.type) if code and _CODE.fullmatch(str(code))}
    reason = " ".join([f"status {status}", *sorted(codes)])
    if status == 413 or codes & _CONTEXT_CODES or (status == 400 and _CONTEXT_WORDS.search(error.message[:1000])):
        raise PromptTooLong("the prompt is longer than the model's context") from None
    if "insufficient_quota" in codes or not (status in _RETRYABLE_STATUSES or status >= 500):
        raise ProviderRejected(reason) from None
    raise ProviderError(reason, parse_retry_after(error.response.headers.get("retry-after"))) from None


async def _bound(response: httpx2.Response) -> None:
    """Limit the bytes that are read of a response."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise InvalidResponse("the server's response is compressed, which was not requested")
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _BoundedStream(response.stream)


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> Any:
        left = ANSWER_BYTES
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise InvalidResponse(f"the server's response is longer than {ANSWER_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
