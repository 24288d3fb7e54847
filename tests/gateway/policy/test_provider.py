"""The list of what goes to a provider: nothing else passes, and nothing else is dropped in silence."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts.errors import InvalidRequest
from gateway.policy.provider import FIELDS, arguments

CHAT, MESSAGES, RESPONSES, EMBEDDINGS = "/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "x"}]},
    MESSAGES: {"messages": [{"role": "user", "content": "x"}], "max_tokens": 3},
    RESPONSES: {"input": "x"},
    EMBEDDINGS: {"input": ["x"]},
}
SWITCHES = [
    *("api_base", "base_url", "api_key", "api_version", "api_type", "custom_llm_provider", "model_list", "fallbacks"),
    *("headers", "extra_headers", "extra_body", "extra_query", "default_headers", "organization", "deployment_id"),
    *("mock_response", "mock_tool_calls", "mock_timeout", "mock_delay", "client", "shared_session", "callbacks"),
    *("litellm_params", "litellm_metadata", "litellm_call_id", "litellm_logging_obj", "model_info", "no-log", "proxy"),
    *("aws_access_key_id", "aws_region_name", "vertex_project", "vertex_credentials", "azure_ad_token"),
    *("timeout", "request_timeout", "num_retries", "max_retries", "caching", "cache", "drop_params", "logger_fn"),
    *("allowed_openai_params", "prompt_id", "cache_control_injection_points", "acompletion", "_skip_mcp_handler"),
    *("previous_response_id", "conversation", "background", "container", "mcp_servers", "service_tier", "prompt"),
]


def _arguments(path: str, **more: Any) -> dict[str, Any]:
    return arguments(path, json.dumps({"model": "faq", **BODIES[path], **more}).encode())


@pytest.mark.parametrize("path", FIELDS)
def test_the_model_is_the_operators_and_a_null_is_no_value(path: str) -> None:
    assert _arguments(path, user=None) == BODIES[path]


@pytest.mark.parametrize("path", FIELDS)
@pytest.mark.parametrize("field", SWITCHES)
def test_no_switch_of_the_library_passes(path: str, field: str) -> None:
    with pytest.raises(InvalidRequest, match="does not go to a provider") as caught:
        _arguments(path, **{field: "http://127.0.0.1:9"})
    assert caught.value.param == field


@given(path=st.sampled_from(sorted(FIELDS)), name=st.text(max_size=20))
def test_a_field_passes_exactly_when_it_is_listed(path: str, name: str) -> None:
    body = json.dumps({**BODIES[path], name: BODIES[path].get(name)}).encode()
    assert arguments(path, body) == BODIES[path]
    if name not in FIELDS[path] | {"model"}:
        with pytest.raises(InvalidRequest) as caught:
            arguments(path, json.dumps({**BODIES[path], name: 1}).encode())
        assert caught.value.param == name


def test_a_stream_has_one_choice() -> None:
    assert _arguments(CHAT, n=2)["n"] == _arguments(CHAT, n=2, stream=False)["n"] == 2
    assert _arguments(CHAT, n=1, stream=True)["n"] == 1
    with pytest.raises(InvalidRequest, match="streams one choice") as caught:
        _arguments(CHAT, n=2, stream=True)
    assert caught.value.param == "n"


def test_streams_are_asked_for_their_usage_as_openai_takes_it() -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    assert _arguments(CHAT, stream=True, stream_options=options)["stream_options"] == {"include_usage": True}
    assert _arguments(CHAT, stream=True)["stream_options"] == {"include_usage": True}
    assert "stream_options" not in _arguments(CHAT)
    for path in (MESSAGES, RESPONSES):
        assert "stream_options" not in _arguments(path, stream=True)


@pytest.mark.parametrize(
    ("path", "more", "param"),
    [
        (CHAT, {"stream_options": {"include_usage": True, "x": 1}}, "stream_options.x"),
        (MESSAGES, {"metadata": {"user_id": "u", "previous_models": []}}, "metadata.previous_models"),
        (CHAT, {"messages": ["x"]}, "messages[0]"),
        (CHAT, {"messages": "x"}, "messages"),
        (CHAT, {"tools": [5]}, "tools[0]"),
        (MESSAGES, {"metadata": "x"}, "metadata"),
        (CHAT, {"stream": "yes"}, "stream"),
        (RESPONSES, {"input": 5}, "input"),
    ],
)
def test_a_mistake_names_its_place(path: str, more: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _arguments(path, **more)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("path", "tool"),
    [
        (CHAT, {"type": "mcp", "server_url": "litellm_proxy", "server_label": "x"}),
        (RESPONSES, {"type": "web_search"}),
        (RESPONSES, {"type": "mcp", "server_url": "http://127.0.0.1:9"}),
        (RESPONSES, {"type": "file_search", "vector_store_ids": ["vs_1"]}),
        (MESSAGES, {"type": "web_search_20250305", "name": "web_search"}),
        (MESSAGES, {"type": None, "name": "x"}),
    ],
)
def test_a_tool_that_runs_elsewhere_does_not_pass(path: str, tool: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=r"tools\[0\] runs at the provider") as caught:
        _arguments(path, tools=[tool])
    assert caught.value.param == "tools"


def test_functions_pass() -> None:
    function = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    assert _arguments(CHAT, tools=[function])["tools"] == [function]
    named = {"name": "f", "input_schema": {"type": "object"}}
    assert _arguments(MESSAGES, tools=[named])["tools"] == [named]


def test_an_endpoint_that_no_provider_serves() -> None:
    with pytest.raises(InvalidRequest, match="a provider does not serve /v1/completions"):
        arguments("/v1/completions", b"{}")
