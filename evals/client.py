"""One chat completion over HTTP, with its time, its tokens and who answered it. Never raises for what a server does.

Every way a call can end becomes a `Result`: an answer, or a failure of the closed set in `schema`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import msgspec

from evals.http1 import ExchangeError, Pool
from evals.schema import Answer, Failure, ToolCall
from gateway.contracts import documents, usage
from gateway.contracts.errors import InputError

RELEASE, DIGEST = "x-tollgate-release", "x-tollgate-digest"
REPLICA, COST = "x-tollgate-replica", "x-tollgate-cost"
_MESSAGE_CHARACTERS = 300
UNREADABLE = "!unreadable"
"""The key under which the arguments of a tool call stand that are no JSON object."""
_BY_STATUS = {401: "not_allowed", 403: "not_allowed", 404: "not_found", 405: "not_found", 429: "limited"}


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How one call ended.

    `failure` is None for a completion with text. `answer` is set whenever a server answered at all. `retryable`:
    another attempt may go better; `retry_after` is the server's wish in seconds.
    """

    answer: Answer | None = None
    failure: Failure | None = None
    retryable: bool = False
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back over HTTP, latency in seconds; `broken` is set where nothing did."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    latency_s: float = 0.0
    broken: Result | None = None


class Function(msgspec.Struct):
    """Which function a model calls, with its arguments as JSON text."""

    name: str
    arguments: str = ""


class Call(msgspec.Struct):
    """One tool call of a turn."""

    function: Function


class Message(msgspec.Struct):
    """The assistant's turn."""

    content: str | None = None
    tool_calls: list[Call] | None = None


class Choice(msgspec.Struct):
    """One answer, and why it ended."""

    message: Message
    finish_reason: str | None = None


class Completion(msgspec.Struct):
    """What is read of an OpenAI chat completion; everything else is ignored."""

    choices: list[Choice]
    usage: dict[str, Any] | None = None
    system_fingerprint: str | None = None


_completion = msgspec.json.Decoder(Completion)


class Client:
    """A keep-alive pool to one OpenAI-compatible endpoint.

    `base_url` ends before `/chat/completions` (`http://127.0.0.1:8080/v1`); `clock` gives seconds.
    """

    def __init__(self, base_url: str, api_key: str | None, *, connections: int, clock: Callable[[], float]) -> None:
        """Raises InputError for an address or a key that cannot be sent to."""
        self._headers = headers = {"Content-Type": "application/json"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        self.base_url = base_url.rstrip("/")
        self._clock = clock
        self._open = False
        try:
            self._pool = Pool(documents.http_url(self.base_url, "http://HOST:PORT/v1"), connections=connections)
        except ValueError as error:
            raise InputError(f"--base-url: {error}") from error
        try:
            self._ask = self._pool.head("GET", "/models", headers)
            self._send = self._pool.head("POST", "/chat/completions", headers)
        except ValueError as error:
            raise InputError(f"{error}: look at the key") from error

    async def __aenter__(self) -> "Client":
        await self._pool.__aenter__()
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        await self._pool.__aexit__(kind, error, trace)

    async def reach(self, timeout_s: float) -> None:
        """Raise InputError unless something answers HTTP at the base URL and takes the key."""
        try:
            response = await self._opened().request(self._ask, b"", timeout_s)
        except (TimeoutError, ExchangeError) as error:
            detail = str(error) or f"no answer within {timeout_s:g} s"
            raise InputError(
                f"nothing usable answers at {self.base_url!r} ({detail}): is the gateway running? "
                "`gateway serve` starts it, --base-url names another address"
            ) from error
        if response.status == 401 and "Authorization" not in self._headers:
            raise InputError(
                f"{self.base_url!r} asks for a key (401), and none was sent: export a virtual key as TOLLGATE_API_KEY, "
                "or as the variable that --api-key-env names (`gateway keys create` makes one)"
            )
        if response.status == 401:
            raise InputError(
                f"{self.base_url!r} does not take this key (401): put a virtual key into the variable "
                "that --api-key-env names (`gateway keys create` makes one)"
            )
        if 300 <= response.status < 400:
            where = response.headers.get("location", "nowhere")
            raise InputError(f"{self.base_url!r} sends its callers to {where!r}: name that address with --base-url")

    async def complete(self, body: bytes, timeout_s: float) -> Result:
        """Send one request body; `timeout_s` bounds connecting, waiting and reading together."""
        reply = await self._exchange(self._send, body, timeout_s)
        return reply.broken or read_response(reply.status, reply.headers, reply.content, reply.latency_s)

    async def post(self, path: str, body: bytes, timeout_s: float) -> Reply:
        """Send a body to a path under the base URL; `timeout_s` bounds connecting, waiting and reading together."""
        return await self._exchange(self._pool.head("POST", path, self._headers), body, timeout_s)

    async def _exchange(self, head: bytes, body: bytes, timeout_s: float) -> Reply:
        pool = self._opened()
        started = self._clock()
        try:
            response = await pool.request(head, body, timeout_s)
        except TimeoutError:
            failure = Failure("timeout", f"no answer within {timeout_s:g} s")
            return Reply(broken=Result(failure=failure, retryable=True))
        except ExchangeError as error:
            return Reply(broken=Result(failure=Failure("unreachable", str(error)), retryable=True))
        return Reply(response.status, response.headers, response.body, self._clock() - started)

    def _opened(self) -> Pool:
        if not self._open:
            raise RuntimeError("use the client with `async with`")
        return self._pool


def read_response(status: int, headers: Mapping[str, str], content: bytes, latency_s: float) -> Result:
    """What an HTTP response means."""
    if status != 200:
        return _refused(status, headers, content, _answer(headers, latency_s))
    try:
        completion = _completion.decode(content)
        choice = completion.choices[0]
    except (msgspec.DecodeError, IndexError, UnicodeDecodeError) as error:
        failure = Failure("bad_response", f"status 200, but no chat completion: {_short(content) or error}")
        return Result(answer=_answer(headers, latency_s), failure=failure)
    answer = _answer(headers, latency_s, completion, choice)
    if answer.text.strip() or answer.tool_calls:
        return Result(answer=answer)
    return Result(
        answer=answer,
        failure=Failure("empty_answer", f"neither text nor a tool call; finish_reason {answer.finish_reason!r}"),
    )


def _answer(
    headers: Mapping[str, str], latency_s: float, completion: Completion | None = None, choice: Choice | None = None
) -> Answer:
    counted = usage.from_openai(completion.usage) if completion else None
    return Answer(
        text=(choice.message.content or "") if choice else "",
        tool_calls=[_call(each.function) for each in choice.message.tool_calls or ()] if choice else [],
        finish_reason=choice.finish_reason if choice else None,
        input_tokens=counted.input_tokens if counted else None,
        output_tokens=counted.output_tokens if counted else None,
        cached_tokens=counted.cached_tokens if counted else None,
        fingerprint=completion.system_fingerprint if completion else None,
        latency_s=round(latency_s, 6),
        release=headers.get(RELEASE),
        release_digest=headers.get(DIGEST),
        replica=headers.get(REPLICA),
        cost=headers.get(COST),
    )


def _call(function: Function) -> ToolCall:
    """Arguments that are no JSON object stay visible as they came, under a key that no schema has."""
    try:
        return ToolCall(function.name, msgspec.json.decode(function.arguments or "{}", type=dict[str, Any]))
    except (msgspec.DecodeError, RecursionError):
        return ToolCall(function.name, {UNREADABLE: function.arguments})


def _refused(status: int, headers: Mapping[str, str], content: bytes, answer: Answer) -> Result:
    code, message = _error_of(content)
    if code == "release_not_gated":
        kind, retryable = "not_gated", False
    elif status >= 500:
        kind, retryable = "server_error", True
    elif 300 <= status < 400:
        kind, retryable, message = "not_found", False, f"this address sends its callers to {headers.get('location')!r}"
    else:
        kind = _BY_STATUS.get(status, "rejected")
        retryable = status == 429
    text = f"{status} {code}: {message}" if code else f"{status}: {message}"
    failure = Failure(kind, text[:_MESSAGE_CHARACTERS])
    return Result(answer=answer, failure=failure, retryable=retryable, retry_after=_seconds(headers.get("retry-after")))


def _error_of(content: bytes) -> tuple[str, str]:
    """(code, message) of an OpenAI error body; vLLM's integer codes are left out, for the status says the same."""
    try:
        error = msgspec.json.decode(content)["error"]
        code = error.get("code")
        return (code if isinstance(code, str) else ""), str(error.get("message", ""))
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError, IndexError):
        return "", _short(content)


def _short(content: bytes) -> str:
    return content[:_MESSAGE_CHARACTERS].decode("utf-8", errors="replace").strip()


def _seconds(value: str | None) -> float | None:
    """Retry-After in seconds; its date form is not used by gateways, and is ignored."""
    try:
        seconds = float(value) if value is not None else -1.0
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
