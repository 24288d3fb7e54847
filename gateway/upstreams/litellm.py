"""External providers through LiteLLM, answered as vLLM would answer: the same bodies, the same events, the same errors.

The only file that imports LiteLLM, on first use: that takes seconds. It is used as a library, for translation alone.
Retries, fallbacks, caches, callbacks, prices, token estimates and logs are the gateway's own business or nobody's, so
all of them are off.

Anthropic's messages go through LiteLLM's chat completions for every provider. Its direct way to Anthropic's API needs
LiteLLM's proxy to stream, and goes on reading (and paying) after its reader has left.
"""

import asyncio
import logging
import os
import re
import traceback
from collections.abc import AsyncIterator, Iterator
from functools import cache
from importlib import import_module
from typing import Any

import msgspec

from gateway.contracts.errors import InputError, InvalidRequest
from gateway.policy.endpoints import Endpoint
from gateway.policy.health import Vitals
from gateway.policy.provider import arguments
from gateway.upstreams import provider_wire as wire
from gateway.upstreams.base import Counted
from gateway.upstreams.http1 import ExchangeError
from gateway.upstreams.written import Written

OPERATORS = frozenset({401, 402, 403, 404})
"""A provider's answers to the gateway's own key, account or model: no client can mend them."""
OVERLOADED = frozenset({503, 529})
"""LiteLLM calls some of these an internal error; 529 is Anthropic's own."""
UNREACHED = frozenset({"ConnectError", "ConnectTimeout"})
UNTRANSLATED = (AttributeError, LookupError, TypeError, ValueError)
"""What LiteLLM raises, or wraps, when a body is not what it takes for granted."""

_HINT = re.compile(r"\s+To drop these, set|\. Handle with `litellm|\s+Traceback \(most recent call last\)")
"""Where a message goes on with what is nothing to a client: LiteLLM's settings, and its stack with paths of ours."""
_JSON = {b"content-type": b"application/json"}
_EVENTS = {b"content-type": b"text/event-stream; charset=utf-8"}
_encode = msgspec.json.Encoder().encode


@cache
def library() -> Any:
    """LiteLLM, with everything off that is not translation. Raises InputError when it is not installed."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # its import would fetch a price list otherwise
    try:
        found: Any = import_module("litellm")
        import_module("litellm.responses.mcp.litellm_proxy_mcp_handler")  # each Responses call loads it
        adapters: Any = import_module("litellm.llms.anthropic.pass_through.adapters.transformation")
    except ImportError as error:
        raise InputError(f"a provider needs LiteLLM ({error}): pip install 'tollgate[providers]'") from error
    found.messages_adapter = adapters.AnthropicAdapter()
    found.telemetry = found.drop_params = found.modify_params = False
    found.suppress_debug_info = found.disable_token_counter = found.user_url_validation = True
    found.disable_aiohttp_transport = True  # nobody would close its sessions
    found.DEFAULT_MAX_RETRIES = 0  # for embeddings, where a `max_retries` of 0 counts as none given
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        # They write bodies, tracebacks and keys to stderr. A filter stays, where `disabled` is undone by whoever
        # configures logging later, as uvicorn does.
        logging.getLogger(name).addFilter(_never)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # some providers take their key in the URL
    return found


def _never(_: logging.LogRecord) -> bool:
    return False


class Provider(Counted):
    """One model of one provider.

    Raises InputError when LiteLLM is missing or does not know the provider that `model` begins with.
    """

    def __init__(
        self, name: str, model: str, *, api_key: str | None, base_url: str | None, connect_s: float, total_s: float
    ) -> None:
        super().__init__(name, (name, model, api_key, base_url, connect_s, total_s), Vitals())
        self._library = library()
        if (brand := model.partition("/")[0]) not in self._library.provider_list:
            raise InputError(f"LiteLLM knows no provider {brand!r}: expected a model such as 'openai/gpt-5-mini'")
        self._always: dict[str, Any] = {
            "model": model,
            "api_key": api_key,
            "api_base": base_url,
            "timeout": self._library.exceptions.httpx.Timeout(total_s, connect=connect_s),
            "num_retries": 0,
            "max_retries": 0,
            "no-log": True,
        }
        self._failures = (
            self._library.exceptions.openai.OpenAIError,
            self._library.exceptions.httpx.HTTPError,
            ImportError,
            *UNTRANSLATED,
        )
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(
        self,
        endpoint: Endpoint,
        body: bytes,
        content_type: bytes,
        request_id: str,
        *,
        fresh: bool = False,
        context: bytes = b"",
    ) -> Written:
        """Send a request. Providers are not told of traces.

        What fails from here on is an error answer, or an ExchangeError of the answer's waits."""
        answer = Written()
        task = asyncio.create_task(self._serve(endpoint.path, body, answer))
        self._tasks.add(task)  # the loop alone does not keep it alive
        task.add_done_callback(self._tasks.discard)
        answer.follow(task)
        return answer

    def end(self, answer: Written) -> None:
        """Stop what still runs."""
        answer.abort("the exchange is over")

    async def healthy(self, seconds: float) -> bool:
        """Providers have no /health: what is known of them is in the breaker."""
        return True

    def close(self) -> None:
        """LiteLLM closes its connections when the process ends."""

    async def _serve(self, path: str, body: bytes, answer: Written) -> None:
        opened = None
        try:
            fields = arguments(path, body)
            opened, whole, events = await self._call(path, fields)
            answer.begin(200, _JSON if events is None else _EVENTS)
            if events is None:
                await answer.push(_encode(whole))
                return
            async for event in events:
                await answer.push(event)
        except InvalidRequest as error:
            await _refuse(answer, 400, error.message, error.param)
        except self._failures as error:
            if answer.status:
                raise ExchangeError(f"the provider broke its stream off: {self._reason(error)}") from error
            status, message = self._explained(error)
            await _refuse(answer, status, message, wait=self._wait(error))
        finally:
            if opened is not None:
                await _close(opened)

    async def _call(self, path: str, fields: dict[str, Any]) -> tuple[Any, Any, AsyncIterator[bytes] | None]:
        """(what to close, the whole answer, its events): the first and last of a stream, else the second."""
        if path == "/v1/embeddings":
            return None, wire.dumped(await self._library.aembedding(**fields, **self._always)), None
        # Without the flag each call would look for tools that LiteLLM runs itself.
        call = {**self._always, "_skip_mcp_handler": True}
        if path == "/v1/messages":
            return await self._messages(fields, call)
        if path == "/v1/responses":
            opened = await self._library.aresponses(**fields, **call)
            events = wire.response_events(opened)
        else:
            opened = await self._library.acompletion(**fields, **call)
            events = wire.chat_events(wire.ended(opened))
        return (opened, None, events) if fields.get("stream") else (None, wire.dumped(opened), None)

    async def _messages(self, fields: dict[str, Any], call: dict[str, Any]) -> tuple[Any, Any, Any]:
        adapter, model = self._library.messages_adapter, call["model"]
        asked, names = adapter.translate_completion_input_params_with_tool_mapping({**fields, "model": model})
        if not fields.get("stream"):
            whole = await self._library.acompletion(**{**asked, **call})
            return None, wire.dumped(adapter.translate_completion_output_params(whole, names)), None
        asked["stream_options"] = {"include_usage": True}
        opened = await self._library.acompletion(**{**asked, **call})
        public = model.partition("/")[2]
        events = adapter.translate_completion_output_params_streaming(wire.ended(opened), public, names)
        return opened, None, wire.message_events(events)

    def _explained(self, error: Exception) -> tuple[int, str]:
        """(status, message) of a failure before the first byte. Raises ExchangeError where nothing was answered."""
        chain = list(_chain(error))
        names = {type(each).__name__ for each in chain}
        timeout = isinstance(error, self._library.Timeout)
        if timeout or names & UNREACHED:
            reason = "did not answer in time" if timeout else "cannot be reached"
            raise ExchangeError(
                f"the provider {reason}", timeout=timeout, connecting=bool(names & UNREACHED)
            ) from error
        httpx = self._library.exceptions.httpx
        if any(isinstance(each, httpx.TransportError) for each in chain):
            raise ExchangeError("the provider broke the connection off") from error
        answered = [each.response.status_code for each in chain if isinstance(each, httpx.HTTPStatusError)]
        status = 503 if OVERLOADED & set(answered) else getattr(error, "status_code", None) or 502
        if isinstance(error, (self._library.APIConnectionError, *UNTRANSLATED)) and _is_ours(chain[-1]):
            status, what = (502, "the answer") if _is_over(httpx.Response, chain[-1]) else (400, "this request")
            return status, f"LiteLLM cannot translate {what} ({type(chain[-1]).__name__}: {self._reason(error)})"
        if status in OPERATORS:
            return 502, f"the provider does not accept the gateway's key, account, model or path (status {status})"
        if isinstance(error, self._library.ContextWindowExceededError):
            return 400, f"the request is longer than the model's maximum context length: {self._reason(error)}"
        return (status if status >= 400 else 502), self._reason(error)

    def _wait(self, error: Exception) -> bytes:
        """The provider's own Retry-After; nothing without one."""
        answers = (e.response for e in _chain(error) if isinstance(e, self._library.exceptions.httpx.HTTPStatusError))
        told = next((str(each.headers["retry-after"]) for each in answers if "retry-after" in each.headers), "")
        return told.encode()

    def _reason(self, error: Exception) -> str:
        """The provider's own words, without the key, should they repeat it."""
        text = str(getattr(error, "message", None) or error)
        if text.startswith("litellm."):
            text = text.partition(" - ")[2] or text.partition(": ")[2]
        text = _inner_message(_HINT.split(text)[0].removeprefix("b'").removesuffix("'").strip())
        return text.replace(key, "***") if (key := self._always["api_key"]) else text


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = getattr(error, "original_exception", None) or error.__cause__ or error.__context__


async def _refuse(answer: Written, status: int, message: str, param: str | None = None, wait: bytes = b"") -> None:
    answer.begin(status, {**_JSON, b"retry-after": wait} if wait else _JSON)
    await answer.push(_encode({"error": {"message": message, "param": param, "code": None}}))


def _is_ours(cause: BaseException) -> bool:
    """Whether an error began in LiteLLM's own code, which raises bare Exceptions too."""
    return isinstance(cause, UNTRANSLATED) or type(cause) is Exception


def _is_over(answer: type, cause: BaseException) -> bool:
    """Whether an error began over an answer of the provider: then one is at hand where it began."""
    frames = (frame for frame, _ in traceback.walk_tb(cause.__traceback__))
    return any(isinstance(each, answer) for frame in frames for each in frame.f_locals.values())


def _inner_message(text: str) -> str:
    """The message inside an error body, where the text is one."""
    try:
        error = msgspec.json.decode(text).get("error")
    except (msgspec.DecodeError, AttributeError):
        return text
    return str(error.get("message") or text) if isinstance(error, dict) else str(error or text)


async def _close(opened: Any) -> None:
    """Close a stream and the parts of it that LiteLLM forgets, so that the provider stops."""
    chat = getattr(opened, "litellm_custom_stream_wrapper", opened)
    lines = getattr(getattr(chat, "completion_stream", None), "streaming_response", None)
    for part in (chat, lines, getattr(opened, "response", None)):
        if (close := getattr(part, "aclose", None)) is not None:
            await close()
