"""The table of paths."""

import pytest

from gateway.contracts.envelopes import dialect_of
from gateway.policy.endpoints import CHAT, ENDPOINTS


def test_every_path_is_its_own_key() -> None:
    assert {path: endpoint.path for path, endpoint in ENDPOINTS.items()} == {path: path for path in ENDPOINTS}
    assert CHAT.wire == "chat"


@pytest.mark.parametrize(
    ("wire", "paths"),
    [
        ("chat", {"/v1/chat/completions"}),
        ("completions", {"/v1/completions"}),
        ("responses", {"/v1/responses"}),
        ("messages", {"/v1/messages"}),
        ("count_tokens", {"/v1/messages/count_tokens"}),
        ("audio", {"/v1/audio/transcriptions", "/v1/audio/translations"}),
        ("tokenize", {"/tokenize", "/detokenize"}),
        (
            "pooling",
            {
                "/v1/embeddings",
                "/pooling",
                "/classify",
                "/score",
                "/v1/score",
                "/rerank",
                "/v1/rerank",
                "/v2/rerank",
            },
        ),
    ],
)
def test_each_wire_has_its_paths(wire: str, paths: set[str]) -> None:
    assert {path for path, endpoint in ENDPOINTS.items() if endpoint.wire == wire} == paths


def test_what_generates_streams_and_nothing_else_does() -> None:
    assert {endpoint.wire for endpoint in ENDPOINTS.values() if endpoint.streams} == {
        "chat",
        "completions",
        "responses",
        "messages",
        "audio",
    }


def test_an_error_is_told_in_the_dialect_of_the_path() -> None:
    told = {endpoint.dialect: endpoint.wire for endpoint in ENDPOINTS.values() if endpoint.dialect != "openai"}
    assert told == {"responses": "responses", "anthropic": "count_tokens"}
    assert ENDPOINTS["/v1/messages"].dialect == "anthropic"
    assert {path: dialect_of(path) for path in ENDPOINTS} == {path: each.dialect for path, each in ENDPOINTS.items()}
