"""Of every stream the engine is asked for the usage, in every chunk, whatever the client says of it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts.errors import InvalidRequest
from gateway.policy.endpoints import ENDPOINTS, Endpoint
from gateway.policy.request import Request, parse, prepare
from tests.gateway.builders import release

PLAIN = release()
CHAT = ENDPOINTS["/v1/chat/completions"]
ASKED = [CHAT, ENDPOINTS["/v1/completions"]]
FLAGS = ["include_usage", "continuous_usage_stats"]
WORDS = ["no", "off", "false", "f", "n", "0", "yes", "on", "true", "t", "y", "1", "", " "]

SCALARS = st.none() | st.booleans() | st.integers(-1, 2) | st.floats(-2, 2) | st.sampled_from(WORDS)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner))
FLAGGED = st.dictionaries(st.sampled_from(FLAGS), st.booleans() | st.none() | VALUES)
EXTRAS = st.dictionaries(st.sampled_from(["extra", "INCLUDE_USAGE", "é"]), VALUES)


def _parse(endpoint: Endpoint, body: dict[str, Any]) -> Request:
    return parse(json.dumps({"model": "faq", **body}).encode(), endpoint)


def _sent(endpoint: Endpoint, body: dict[str, Any]) -> Any:
    return json.loads(prepare(_parse(endpoint, body), PLAIN, "faq"))


def _refused(endpoint: Endpoint, body: dict[str, Any]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        _parse(endpoint, body)
    assert caught.value.status == 400
    return caught.value


@given(st.sampled_from(ASKED), st.builds(lambda flags, extras: {**flags, **extras}, FLAGGED, EXTRAS) | VALUES)
def test_no_stream_passes_that_is_not_counted_in_every_chunk(endpoint: Endpoint, options: Any) -> None:
    body = {"stream": True, "stream_options": options}
    told = {} if options is None else options
    if not isinstance(told, dict):
        assert _refused(endpoint, body).param == "stream_options"
    elif wrong := [f"stream_options.{name}" for name in FLAGS if not isinstance(told.get(name), bool | None)]:
        assert _refused(endpoint, body).param in wrong
    else:
        asked = _sent(endpoint, body)["stream_options"]
        assert [asked.pop(name) is True for name in FLAGS] == [True, True]
        assert asked == {name: value for name, value in told.items() if name not in FLAGS}


@pytest.mark.parametrize("endpoint", ASKED, ids=lambda endpoint: endpoint.wire)
@pytest.mark.parametrize("value", [*WORDS, 0, 1, 1.0, [], [True], {}, {"a": 1}])
@pytest.mark.parametrize("name", FLAGS)
def test_whether_usage_is_told_is_true_or_false(name: str, value: Any, endpoint: Endpoint) -> None:
    """The engine reads words as flags: what it takes for false must not pass here for true."""
    for others in ({}, dict.fromkeys(FLAGS, True), dict.fromkeys(FLAGS, False)):
        error = _refused(endpoint, {"stream": True, "stream_options": {**others, name: value}})
        assert error.param == f"stream_options.{name}"
        assert error.message == f"the field 'stream_options.{name}' should be true or false"


@pytest.mark.parametrize("value", [[], "x", 1, True])
def test_stream_options_are_an_object(value: Any) -> None:
    assert _refused(CHAT, {"stream": True, "stream_options": value}).param == "stream_options"


def test_stream_options_go_with_a_stream() -> None:
    assert _refused(CHAT, {"stream_options": {"include_usage": True}}).param == "stream_options"


@pytest.mark.parametrize(
    ("options", "wants"),
    [
        (None, (False, False)),
        ({}, (False, False)),
        ({"include_usage": False}, (False, False)),
        ({"include_usage": None, "continuous_usage_stats": None}, (False, False)),
        ({"include_usage": True}, (True, False)),
        ({"include_usage": True, "continuous_usage_stats": None}, (True, False)),
        ({"include_usage": True, "continuous_usage_stats": False}, (True, False)),
        ({"include_usage": True, "continuous_usage_stats": True}, (True, True)),
        # vLLM takes the second only with the first.
        ({"continuous_usage_stats": True}, (False, False)),
    ],
)
def test_the_engine_is_asked_for_every_count_and_the_client_gets_its_own(
    options: Any, wants: tuple[bool, bool]
) -> None:
    body = {"stream": True, "stream_options": None if options is None else {**options, "extra": [1]}}
    request = _parse(CHAT, body)
    assert (request.wants_usage, request.wants_continuous_usage) == wants
    asked = _sent(CHAT, body)["stream_options"]
    assert (asked["include_usage"], asked["continuous_usage_stats"]) == (True, True)
    assert options is None or asked["extra"] == [1]


def test_other_stream_options_keep_their_bytes() -> None:
    body = b'{"model":"faq","stream":true,"stream_options":{"extra":1.0e2}}'
    sent = prepare(parse(body, CHAT), PLAIN, "faq")
    assert b'"extra":1.0e2' in sent
