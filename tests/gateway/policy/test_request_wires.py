"""What each wire's body is read for, and where a release's prompt and sampling go in it."""

import json
from typing import Any

import pytest

from gateway.contracts.errors import InvalidRequest
from gateway.policy import multipart
from gateway.policy.endpoints import ENDPOINTS
from gateway.policy.request import MOVING, REFUSED, STATEFUL, Request, parse, prepare
from tests.engine import recordings
from tests.gateway.builders import release

PLAIN = release()
SAMPLING = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 9, "stop": ["\n"], "seed": 7}
STRICT = release(prompt={"system": "be brief"}, sampling=SAMPLING)
JSON = [path for path, endpoint in ENDPOINTS.items() if endpoint.wire != "audio"]
AUDIO = [path for path, endpoint in ENDPOINTS.items() if endpoint.wire == "audio"]
TYPE = b"multipart/form-data; boundary=X"
USER = {"role": "user", "content": "hi"}


def _sent(path: str, body: dict[str, Any], into: Any = STRICT) -> dict[str, Any]:
    found = json.loads(prepare(_parse(path, body), into, "faq"))
    assert isinstance(found, dict)
    return found


def _parse(path: str, body: dict[str, Any]) -> Request:
    return parse(json.dumps({"model": "faq", **body}).encode(), ENDPOINTS[path])


def _refused(path: str, body: dict[str, Any]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        _parse(path, body)
    return caught.value


def _form(fields: dict[str, str]) -> bytes:
    file = '--X\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n'
    texts = [f'--X\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{fields[name]}\r\n' for name in fields]
    return "".join([file, *texts, "--X--\r\n"]).encode()


def _audio(fields: dict[str, str], path: str = AUDIO[0]) -> Request:
    return parse(_form({"model": "faq", **fields}), ENDPOINTS[path], TYPE)


def _heard(request: Request, into: Any = PLAIN, served: str = "faq") -> dict[str, str | None]:
    """The fields that the engine gets, without the file."""
    form = multipart.parse(prepare(request, into, served), request.content_type)
    assert form.body.count(b'filename="a.wav"\r\n\r\nRIFF\r\n--X') == 1
    return {name: form.text(name) for name in form.parts if name != "file"}


@pytest.mark.parametrize("path", JSON)
def test_every_body_in_json_passes_as_it_came(path: str) -> None:
    request = _parse(path, {"input": ["a"], "x": 1.0})
    assert prepare(request, PLAIN, "faq") is request.body
    assert (request.model, request.stream, request.content_type) == ("faq", False, b"application/json")


def test_recorded_bodies_pass_as_they_were_sent() -> None:
    for name in ("anthropic_messages", "responses", "responses_stream", "tokenize_chat", "embeddings_on_generative"):
        recorded = recordings.load(name)
        assert prepare(parse(recorded.sent, ENDPOINTS[recorded.path]), PLAIN, "tiny") == recorded.sent


@pytest.mark.parametrize("path", JSON)
def test_only_what_generates_streams(path: str) -> None:
    if ENDPOINTS[path].streams:
        assert _parse(path, {"stream": True}).stream
    else:
        assert _refused(path, {"stream": True}).param == "stream"


@pytest.mark.parametrize("path", JSON)
def test_dangerous_fields_pass_nowhere(path: str) -> None:
    assert [_refused(path, {name: None}).param for name in REFUSED] == list(REFUSED)


def test_streams_that_count_themselves_are_asked_nothing() -> None:
    for path in ("/v1/responses", "/v1/messages"):
        request = _parse(path, {"stream": True, "stream_options": {"include_obfuscation": False}})
        assert prepare(request, PLAIN, "faq") is request.body


@pytest.mark.parametrize("name", STATEFUL)
def test_the_gateway_keeps_no_responses(name: str) -> None:
    error = _refused("/v1/responses", {name: "x"})
    assert (error.param, STATEFUL[name] in error.message) == (name, True)
    assert _parse("/v1/responses", {name: None, "store": True}).model == "faq"
    assert _parse("/v1/chat/completions", {name: "x"}).model == "faq"


def test_what_is_not_asked_for_is_not_refused() -> None:
    assert _parse("/v1/responses", {"background": False}).model == "faq"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/chat/completions", SAMPLING),
        ("/v1/completions", SAMPLING),
        ("/v1/responses", {"max_output_tokens": 9, **{k: v for k, v in SAMPLING.items() if k != "max_tokens"}}),
        ("/v1/messages", {"temperature": 0.5, "top_p": 0.9, "stop_sequences": ["\n"]}),
    ],
)
def test_sampling_has_each_wires_names(path: str, expected: dict[str, Any]) -> None:
    assert _sent(path, {}) == {"model": "faq", **expected}
    own = dict.fromkeys(expected, 1)
    assert _sent(path, own) == {"model": "faq", **own}


@pytest.mark.parametrize("path", [path for path in JSON if ENDPOINTS[path].wire in ("pooling", "tokenize")])
def test_what_does_not_generate_takes_neither_sampling_nor_prompt(path: str) -> None:
    request = _parse(path, {"messages": [USER]})
    assert prepare(request, STRICT, "faq") is request.body


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_anthropics_prompt_is_a_field_of_its_own(path: str) -> None:
    assert _sent(path, {"messages": [USER]})["system"] == "be brief"
    assert _sent(path, {"messages": [USER], "system": "mine"})["system"] == "mine"
    assert "system" not in _sent(path, {"messages": [USER, {"role": "system", "content": "mine"}]})
    assert "system" not in _sent(path, {})


@pytest.mark.parametrize("given", ["hi", [USER]])
def test_the_prompt_of_responses_are_its_instructions(given: Any) -> None:
    assert _sent("/v1/responses", {"input": given})["instructions"] == "be brief"
    assert _sent("/v1/responses", {"input": given, "instructions": "mine"})["instructions"] == "mine"


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_response_with_instructions_in_its_input_keeps_them(role: str) -> None:
    assert "instructions" not in _sent("/v1/responses", {"input": [USER, {"role": role, "content": "mine"}]})
    assert "instructions" not in _sent("/v1/responses", {})


@pytest.mark.parametrize("given", [1, {}, [1], ["hi"]])
def test_an_input_of_another_shape_is_refused_by_name(given: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _sent("/v1/responses", {"input": given})
    assert caught.value.param == "input"


@pytest.mark.parametrize("path", AUDIO)
def test_audio_comes_as_a_form(path: str) -> None:
    request = _audio({"language": "de"}, path)
    assert (request.model, request.stream) == ("faq", False)
    assert request.content_type == b'multipart/form-data; boundary="X"'
    assert prepare(request, PLAIN, "faq") is request.body


def test_audio_that_is_no_form_says_what_was_expected() -> None:
    with pytest.raises(InvalidRequest, match="multipart/form-data; boundary"):
        parse(b'{"model":"faq"}', ENDPOINTS[AUDIO[0]], b"application/json")
    with pytest.raises(InvalidRequest, match="multipart/form-data; boundary"):
        parse(b"", ENDPOINTS[AUDIO[0]])


def test_audio_names_its_model() -> None:
    with pytest.raises(InvalidRequest, match="/v1/models"):
        parse(_form({}), ENDPOINTS[AUDIO[0]], TYPE)


def test_the_pools_name_for_the_model_is_the_one_in_the_form() -> None:
    assert _heard(_audio({"prompt": "names"}), served="/models/x") == {"model": "/models/x", "prompt": "names"}


def test_dangerous_fields_do_not_pass_in_a_form() -> None:
    with pytest.raises(InvalidRequest) as caught:
        _audio({"priority": "1"})
    assert caught.value.param == "priority"


@pytest.mark.parametrize("name", sorted(MOVING))
def test_what_moves_caches_does_not_pass_as_an_extra_argument(name: str) -> None:
    """vLLM reads the fields of these names out of its extra arguments, and its connectors expect no text there."""
    for path in JSON:
        for told in ("text", {"do_remote_prefill": True}, None):
            error = _refused(path, {"vllm_xargs": {"a": 1, name: told}})
            assert (error.param, name in error.message) == ("vllm_xargs", True)
    for path in AUDIO:
        with pytest.raises(InvalidRequest, match=name):
            _audio({"vllm_xargs": json.dumps({name: 1})}, path)
        with pytest.raises(InvalidRequest, match="should be an object"):
            _audio({"vllm_xargs": "{'a"}, path)


def test_other_extra_arguments_pass_as_they_came() -> None:
    for extras in (None, {}, {"top": "a", "priority": 1}, "kv_transfer_params", ["kv_transfer_params"]):
        assert _sent(JSON[0], {"vllm_xargs": extras}, PLAIN)["vllm_xargs"] == extras
    assert _heard(_audio({"vllm_xargs": '{"a":1}'})) == {"model": "faq", "vllm_xargs": '{"a":1}'}


@pytest.mark.parametrize(("usage", "continuous"), [("false", ""), ("true", "false"), ("1", "True")])
def test_a_stream_of_a_transcript_is_counted_in_every_chunk(usage: str, continuous: str) -> None:
    flags = {"stream_include_usage": usage, "stream_continuous_usage_stats": continuous}
    request = _audio({"stream": "True", **flags})
    assert request.stream
    assert (request.wants_usage, request.wants_continuous_usage) == (usage != "false", continuous == "True")
    heard = _heard(request)
    if continuous == "True":
        assert heard == {"model": "faq", "stream": "True", **flags}
    else:
        assert heard == {"model": "faq", "stream": "True", **dict.fromkeys(flags, "true")}
    assert _heard(_audio({"stream": "on"})) == {"model": "faq", "stream": "on", **dict.fromkeys(flags, "true")}


@pytest.mark.parametrize("name", ["stream_include_usage", "stream_continuous_usage_stats"])
def test_counts_of_a_transcript_go_with_a_stream(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _audio({name: "true"})
    assert caught.value.param == name


@pytest.mark.parametrize("value", ["2", "ja", "true ", "null"])
def test_a_flag_of_a_form_is_one(value: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _audio({"stream": value})
    assert caught.value.param == "stream"


def test_a_transcript_takes_the_releases_sampling() -> None:
    filled = {"temperature": "0.5", "top_p": "0.9", "seed": "7", "max_completion_tokens": "9"}
    assert _heard(_audio({}), STRICT) == {"model": "faq", **filled}
    assert _heard(_audio({"temperature": "0"}), STRICT) == {"model": "faq", **filled, "temperature": "0"}
