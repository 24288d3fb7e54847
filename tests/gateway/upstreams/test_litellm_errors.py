"""What a provider's failures become; that none of them shows its key, and that no client chooses where it goes."""

import json
import logging.config
import subprocess
import sys
from typing import Any

import pytest

from gateway.contracts.errors import (
    ContextLengthExceeded,
    InputError,
    InvalidRequest,
    RequestError,
    UpstreamFailed,
    UpstreamOverloaded,
)
from gateway.policy.endpoints import ENDPOINTS
from gateway.upstreams.http1 import ExchangeError
from gateway.upstreams.litellm import Provider, library
from gateway.upstreams.vllm import translate
from tests.engine.faults import Fault
from tests.engine.server import Engine
from tests.gateway.upstreams.provider_server import KEY, MESSAGE, ProviderServer
from tests.gateway.upstreams.providers import CHAT, EMBEDDINGS, HELLO, MESSAGES, RESPONSES, WARNINGS, S, ask, at, openai

pytestmark = WARNINGS
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": HELLO},
    MESSAGES: {"messages": HELLO, "max_tokens": 9},
    RESPONSES: {"input": "hello"},
    EMBEDDINGS: {"input": "hello"},
}


async def _refused(provider: Provider, path: str = CHAT, **body: Any) -> RequestError:
    status, kind, answer = await ask(provider, path, **{**BODIES[path], **body})
    assert status >= 400
    assert kind == b"application/json"
    assert KEY not in answer.decode()
    return translate(status, answer, 1)


def _anthropic(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (400, "invalid_request_error", "max_tokens: too small", InvalidRequest),
        (400, "invalid_request_error", "prompt is too long: 205000 tokens > 200000 maximum", ContextLengthExceeded),
        (403, "permission_error", f"the key {KEY} may not", UpstreamFailed),
        (404, "not_found_error", "model: claude-9", UpstreamFailed),
        (429, "rate_limit_error", "slow down", UpstreamOverloaded),
        (500, "api_error", f"trouble with {KEY}", UpstreamFailed),
        (503, "overloaded_error", "Overloaded", UpstreamOverloaded),
        (529, "overloaded_error", "Overloaded", UpstreamOverloaded),
    ],
)
async def test_a_refusal_keeps_its_meaning(
    api: ProviderServer, path: str, stream: bool, status: int, kind: str, message: str, expected: type[RequestError]
) -> None:
    api.refusal = (status, _anthropic(kind, message))
    error = await _refused(at(api), path, stream=stream)
    assert type(error) is expected
    if expected in (InvalidRequest, ContextLengthExceeded, UpstreamOverloaded):
        assert message in error.message
    assert "litellm" not in error.message.lower()
    assert len(api.received) == 1, "LiteLLM tries nothing again"


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
@pytest.mark.parametrize("stream", [True, False])
async def test_when_a_provider_wants_to_be_asked_again_is_handed_on(
    api: ProviderServer, path: str, stream: bool
) -> None:
    api.refusal, api.wait = (429, _anthropic("rate_limit_error", "slow down")), 37
    provider = at(api)
    answer = provider.begin(ENDPOINTS[path], json.dumps({**BODIES[path], "stream": stream}).encode(), b"", "r")
    assert await answer.head(S) == 429
    assert answer.headers[b"retry-after"] == b"37"
    provider.end(answer)


@pytest.mark.parametrize("brand", ["openai", "hosted_vllm"])
async def test_openais_refusals_keep_their_meaning(engine: Engine, brand: str) -> None:
    provider = openai(engine, brand)
    too_long = await _refused(provider, messages=[{"role": "user", "content": "a " * 100}])
    assert type(too_long) is ContextLengthExceeded
    assert "50 tokens" in too_long.message
    engine.faults.extend([Fault("refuse")])
    assert type(await _refused(provider)) is UpstreamOverloaded
    engine.faults.extend([Fault("garbage_json")])
    assert type(await _refused(provider)) is UpstreamFailed


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
@pytest.mark.parametrize("answer", [{}, {"error": "an odd one"}, {**MESSAGE, "content": None}])
async def test_an_answer_that_is_none_is_the_providers_failure(
    api: ProviderServer, path: str, answer: dict[str, Any]
) -> None:
    """So that another provider is asked; and nobody is shown LiteLLM's stack."""
    api.refusal = (200, answer)
    error = await _refused(at(api), path)
    assert type(error) is UpstreamFailed
    assert "Traceback" not in error.message


async def test_what_cannot_be_translated_is_told_without_a_stack(api: ProviderServer) -> None:
    error = await _refused(at(api), messages=[{"role": "user", "content": 5}])
    assert type(error) is InvalidRequest
    assert error.message == "LiteLLM cannot translate this request (TypeError: 'int' object is not iterable)"
    assert api.received == []


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES, EMBEDDINGS])
async def test_a_wrong_key_is_the_operators_problem(engine: Engine, api: ProviderServer, path: str) -> None:
    wrong = "sk-wrong-key-of-the-operator"
    provider = openai(engine, key=wrong) if path in (CHAT, EMBEDDINGS) else at(api, key=wrong)
    status, _, body = await ask(provider, path, **BODIES[path])
    assert status == 502
    assert wrong not in body.decode()
    assert type(translate(status, body, 1)) is UpstreamFailed
    assert "the gateway's key" in json.loads(body)["error"]["message"]


@pytest.mark.parametrize(
    ("brand", "path"),
    [(brand, path) for brand in ("openai", "hosted_vllm") for path in BODIES]
    + [("anthropic", path) for path in (CHAT, MESSAGES, RESPONSES)],
)
async def test_a_provider_that_cannot_be_reached(engine: Engine, brand: str, path: str) -> None:
    await engine.stop()
    with pytest.raises(ExchangeError) as caught:
        await ask(openai(engine, brand), path, **BODIES[path])
    assert (caught.value.connecting, caught.value.timeout) == (True, False)
    assert engine.url not in caught.value.reason


@pytest.mark.parametrize("brand", ["openai", "hosted_vllm"])
async def test_a_provider_that_is_too_slow(engine: Engine, brand: str) -> None:
    engine.faults.extend([Fault("stall")])
    provider = Provider("p", f"{brand}/m", api_key=KEY, base_url=engine.url + "/v1", connect_s=S, total_s=0.05)
    with pytest.raises(ExchangeError) as caught:
        await ask(provider, CHAT, messages=HELLO)
    assert (caught.value.connecting, caught.value.timeout) == (False, True)


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("brand", ["openai", "hosted_vllm"])
@pytest.mark.parametrize("kind", ["close", "error_event"])
async def test_a_stream_that_breaks_off_is_never_a_whole_one(engine: Engine, path: str, brand: str, kind: Any) -> None:
    engine.faults.extend([Fault(kind, after=2)])
    with pytest.raises(ExchangeError, match="the provider broke its stream off"):
        await ask(openai(engine, brand), path, **BODIES[path], stream=True)


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
async def test_a_stream_that_just_stops_is_never_a_whole_one(api: ProviderServer, path: str) -> None:
    api.cut = 3
    with pytest.raises(ExchangeError):
        await ask(at(api), path, **BODIES[path], stream=True)


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_a_stream_without_an_event_has_no_first_byte(api: ProviderServer, path: str) -> None:
    """So that another provider can still answer."""
    api.cut = 0
    provider = at(api)
    answer = provider.begin(ENDPOINTS[path], json.dumps({**BODIES[path], "stream": True}).encode(), b"", "r")
    with pytest.raises(ExchangeError):
        await answer.read(S)
    provider.end(answer)


async def test_a_broken_connection_is_no_answer(engine: Engine) -> None:
    engine.faults.extend([Fault("close")])
    with pytest.raises(ExchangeError, match="broke the connection off") as caught:
        await ask(openai(engine), CHAT, messages=HELLO)
    assert (caught.value.connecting, caught.value.timeout) == (False, False)


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
@pytest.mark.parametrize(
    "field", ["api_base", "base_url", "api_key", "mock_response", "extra_headers", "fallbacks", "custom_llm_provider"]
)
async def test_a_client_chooses_neither_address_nor_key(engine: Engine, path: str, field: str) -> None:
    error = await _refused(openai(engine), path, **{field: "http://127.0.0.1:9"})
    assert type(error) is InvalidRequest
    assert error.param == field
    assert engine.requests == []


@pytest.mark.parametrize("messages", [[{"role": "user", "content": 5}], [{"role": "user", "content": [{"type": "x"}]}]])
async def test_a_body_that_litellm_cannot_read_is_the_clients_mistake(engine: Engine, messages: Any) -> None:
    assert type(await _refused(openai(engine), messages=messages)) is InvalidRequest


async def test_what_a_provider_does_not_take_is_said_and_not_dropped(api: ProviderServer) -> None:
    error = await _refused(at(api), seed=3)
    assert type(error) is InvalidRequest
    assert "seed" in error.message
    assert api.received == []


def test_an_unknown_provider_is_an_error_at_start() -> None:
    with pytest.raises(InputError, match="LiteLLM knows no provider 'opnai'"):
        Provider("p", "opnai/gpt", api_key=None, base_url=None, connect_s=S, total_s=S)


def test_a_missing_litellm_is_an_error_at_start() -> None:
    program = """
import sys
sys.modules["litellm"] = None  # an import of it fails
from gateway.contracts.errors import InputError
from gateway.upstreams.litellm import library
try:
    library()
except InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert "pip install 'tollgate[providers]'" in done.stdout


async def test_nothing_of_a_request_is_logged(
    engine: Engine, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    engine.faults.extend([Fault("error"), Fault("close", after=1)])
    await _refused(openai(engine), messages=[{"role": "user", "content": "a secret"}])
    with pytest.raises(ExchangeError):
        await ask(openai(engine), CHAT, messages=[{"role": "user", "content": "a secret"}], stream=True)
    out, err = capfd.readouterr()
    said = out + err + "".join(record.getMessage() for record in caplog.records if "litellm" in record.name.lower())
    assert "secret" not in said
    assert KEY not in said


async def test_in_flight_is_held_by_with(engine: Engine) -> None:
    provider = openai(engine)
    with provider:
        assert provider.in_flight == 1
        answer = provider.begin(ENDPOINTS[CHAT], b"{}", b"", "r")
        assert await answer.head(S) == 400
        provider.end(answer)
    assert provider.in_flight == 0
    assert await provider.healthy(S)
    provider.close()


@pytest.mark.parametrize("name", ["LiteLLM", "LiteLLM Router", "LiteLLM Proxy"])
def test_litellm_logs_nothing_though_logging_is_configured_after_it(
    name: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """As by the server, which starts once the providers are there: what it logs repeats keys."""
    library()
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
    logging.getLogger(name).critical("the provider says: %s", KEY)
    assert (*capfd.readouterr(), caplog.records) == ("", "", [])
