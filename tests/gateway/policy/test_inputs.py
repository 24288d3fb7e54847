"""What rules read of a request, by the names that conditions use."""

import json
from datetime import UTC, datetime

import pytest

from gateway.policy import inputs
from gateway.policy.auth import Principal
from gateway.policy.endpoints import ENDPOINTS
from gateway.policy.inputs import HEADER_BYTES
from gateway.policy.request import parse
from gateway.policy.shapes import Request
from gateway.settings import conditions
from tests.gateway.builders import principal
from tests.gateway.ruled import header, request


def _value(name: str, asked: object = None, **headers: str) -> object:
    reader = inputs.Reader([name])
    assert reader.names == [name]
    (found,) = _values(reader, asked or request(), principal(team="sales"), header(**headers))  # type: ignore[arg-type]
    return found


def _values(reader: inputs.Reader, asked: Request, who: Principal, header: inputs.Header) -> list[object]:
    read = reader.read(7, asked, who, header)
    assert read == reader.read(7, asked, who, header) != reader.read(8, asked, who, header)
    assert hash(read) == hash(reader.read(7, asked, who, header)), "what was decided is remembered by it"
    return reader.values(read)


def test_every_member_of_a_condition_is_read_and_has_its_type() -> None:
    for name, value in conditions.sample(("x-tier",)).items():
        if name.startswith(("req.", "key.", "headers.")):
            assert type(_value(name)) is type(value), name
    assert set(inputs.REQUEST) == set(conditions.REQUEST)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("req.model", "faq"), ("req.endpoint", "/v1/chat/completions"), ("req.stream", True), ("req.choices", 3),
        ("req.max_tokens", 50), ("key.id", "k"), ("key.team", "sales"), ("key.scope", "serve"),
        ("headers.x-tier", "gold"),
        ("headers.x-intent", ""),
    ],
)  # fmt: skip
def test_a_member(name: str, value: object) -> None:
    assert _value(name, request(stream=True, n=3, max_tokens=50), x_tier="gold") == value


def test_the_size_of_a_body() -> None:
    asked = request(messages=[{"role": "user", "content": "é" * 100}])
    assert _value("req.body_bytes", asked) == len(asked.body)


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({}, 0),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 9, "max_tokens": 7}, 9),
        ({"max_completion_tokens": None, "max_tokens": 7}, 7),
        ({"max_tokens": "12"}, 12),
        ({"max_tokens": 12.0}, 12),
        ({"max_tokens": 0}, 0),
        ({"max_output_tokens": 5}, 0),
    ],
)
def test_the_limit_of_tokens_is_what_the_engine_goes_by(fields: dict[str, object], tokens: int) -> None:
    assert _value("req.max_tokens", request(**fields)) == tokens


def test_responses_and_forms_have_limits_of_their_own() -> None:
    assert _value("req.max_tokens", request("/v1/responses", max_output_tokens=5)) == 5
    part = '--b\r\ncontent-disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    body = part.format("model", "faq") + part.format("max_completion_tokens", "8") + "--b--\r\n"
    form = parse(body.encode(), ENDPOINTS["/v1/audio/transcriptions"], b"multipart/form-data; boundary=b")
    assert _value("req.max_tokens", form) == 8
    assert _value("req.choices", form) == 1


def test_a_header_is_read_to_a_limit_and_is_always_text() -> None:
    reader = inputs.Reader(["headers.x-tier"])
    (found,) = _values(reader, request(), principal(), {b"x-tier": b"\xff" + b"a" * 10_000}.get)
    assert found == "\ufffd" + "a" * (HEADER_BYTES - 1)


def test_what_is_read_together_is_in_the_order_of_its_names() -> None:
    reader = inputs.Reader(["req.model", "key.team", "headers.x-tier", "key.id", "req.choices", "headers.x-intent"])
    found = _values(reader, request(n=2), principal(team="sales", key_id="k1"), header(x_tier="gold"))
    assert dict(zip(reader.names, found, strict=True)) == {
        "headers.x-intent": "", "headers.x-tier": "gold", "key.id": "k1", "key.team": "sales",
        "req.choices": 2, "req.model": "faq",
    }  # fmt: skip


def test_what_is_recorded_can_be_read_back_through_json() -> None:
    values = {
        "now": datetime(2026, 11, 27, 18, 30, tzinfo=UTC),
        "local.windows": ("peak",),
        "req.stream": True,
        "key.team": "a",
    }
    told = json.loads(json.dumps(inputs.recorded(values)))
    assert {name: inputs.read_back(name, each) for name, each in told.items()} == values
