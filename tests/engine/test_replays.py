"""Every API's recordings, replayed: the simulator's bytes are those of a real vLLM."""

import json

import pytest

from tests.engine import audio, raw, recordings, replay
from tests.engine.recordings import Recording
from tests.engine.replay import same
from tests.engine.simulator import Engine, Fault

CHAT = (
    "chat_response_format",
    "chat_structured_outputs",
    "chat_tools_required_stream",
)
COMPUTED = ("chat_logprobs", "chat_stream_top_logprobs", "completion_logprobs", "completion_stream_logprobs")
MESSAGES = (
    "anthropic_messages",
    "messages",
    "messages_stream",
    "messages_stream_max_tokens",
    "messages_tool",
    "messages_tool_stream",
)
RESPONSES = (
    "responses_stream",
    "responses",
    "responses_text",
    "responses_text_stream",
    "responses_text_stream_max_tokens",
    "responses_tool",
    "responses_tool_stream",
)
AUDIO = (
    "transcription",
    "transcription_text",
    "transcription_stream",
    "transcription_stream_usage",
    "transcription_stream_continuous_usage",
    "translation",
    "translation_stream_usage",
)
REFUSED = (
    "chat_structured_outputs_err",
    "detokenize",
    "err_not_utf8",
    "err_not_utf8_responses",
    "err_pooling_on_generative",
    "err_score_on_generative",
    "err_transcription_on_generative",
    "messages_count_tokens_err_bad_model",
    "messages_err_bad_model",
    "messages_err_invalid_json",
    "messages_err_no_max_tokens",
    "messages_err_too_long",
    "responses_err_bad_model",
    "responses_err_no_input",
    "responses_err_previous",
    "responses_err_stream_too_long",
    "responses_retrieve_err",
    "tokenize_err_bad_model",
)
FULL = ("err_queue_full", "err_queue_full_stream", "err_queue_full_messages", "err_queue_full_responses")
DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."


@pytest.mark.parametrize("name", [*CHAT, *MESSAGES, *RESPONSES])
async def test_answers_are_the_recorded_bytes(name: str) -> None:
    recording = recordings.load(name)
    async with replay.engine(recording) as engine:
        same(await replay.ask(engine, recording), recording)
        assert engine.finished == 1


async def test_an_adapter_answers_under_its_own_name() -> None:
    recording = recordings.load("chat_lora")
    async with replay.engine(recording, model="faq", loras="billing,support") as engine:
        same(await replay.ask(engine, recording), recording)


@pytest.mark.parametrize("name", ["chat_tools_required", "chat_tools_named"])
async def test_calls_are_the_recorded_bytes(name: str) -> None:
    recording = recordings.load(name)
    async with replay.engine(recording) as engine:
        same(await replay.ask(engine, recording), recording)


@pytest.mark.parametrize("name", COMPUTED)
async def test_logprobs_have_the_recorded_shape(name: str) -> None:
    recording = recordings.load(name)
    tokens = ["The", " Warsaw" if name.startswith("chat") else " Team", ""]
    async with replay.engine(recording, answer=lambda _: tokens) as engine:
        same(await replay.ask(engine, recording), recording, computed=True)


@pytest.mark.parametrize("name", AUDIO)
async def test_speech_is_answered_in_the_recorded_bytes(name: str) -> None:
    recording = recordings.load(name)
    texts = [*_texts(recording), *[""] * 4][:5]
    async with _whisper(recording, texts) as engine:
        same(await replay.ask(engine, recording), recording)


def _texts(recording: Recording) -> list[str]:
    if b"data: " in recording.body:
        (texts,) = replay.choices(recording)
        return texts
    return [json.loads(recording.body)["text"]]


def _whisper(recording: Recording, texts: list[str]) -> Engine:
    return Engine("whisper", task="transcribe", answer=lambda _: texts, clock=lambda: 1795383308.0)


@pytest.mark.parametrize(
    "name",
    [
        "transcription_err_bad_model",
        "transcription_err_no_file",
        "transcription_err_stream_options",
        "transcription_err_json",
        "chat_on_whisper",
        "completion_on_whisper",
    ],
)
async def test_speech_is_refused_in_the_recorded_bytes(name: str) -> None:
    recording = recordings.load(name)
    async with _whisper(recording, []) as engine:
        same(await replay.ask(engine, recording), recording)
        assert engine.started == 0


def test_only_audio_that_can_be_read_has_a_duration() -> None:
    sent = recordings.load("transcription")
    form = audio.decode(sent.sent, sent.sent_headers["content-type"])
    assert audio.duration(form["file"]) == 1.1
    with pytest.raises(Exception, match="Invalid or corrupted audio data"):
        audio.duration(b"RIFF")


async def test_counting_the_tokens_of_a_message() -> None:
    recording = recordings.load("messages_count_tokens")
    async with Engine("faq", count=lambda _: 9) as engine:
        same(await replay.ask(engine, recording), recording)
        assert engine.started == 0


@pytest.mark.parametrize("name", ["tokenize", "tokenize_strs", "tokenize_chat"])
async def test_tokens_have_the_recorded_shape(name: str) -> None:
    recording = recordings.load(name)
    recorded = json.loads(recording.body)
    async with replay.engine(recording, count=lambda _: recorded["count"]) as engine:
        made = (await replay.ask(engine, recording)).json
    assert (list(made), made["count"], made["max_model_len"]) == (
        list(recorded),
        recorded["count"],
        recorded["max_model_len"],
    )
    for name in ("tokens", "token_strs"):
        assert (made[name] and len(made[name])) == (recorded[name] and len(recorded[name]))


@pytest.mark.parametrize("name", REFUSED)
async def test_refusals_are_the_recorded_bytes(name: str) -> None:
    recording = recordings.load(name)
    async with Engine("faq", max_model_len=256) as engine:
        answer = await replay.ask(engine, recording)
        if name == "detokenize":
            assert list(answer.json) == list(json.loads(recording.body))
        else:
            same(answer, recording)
        assert engine.started == 0


@pytest.mark.parametrize("name", FULL)
async def test_a_full_queue_refuses_in_the_recorded_bytes(name: str) -> None:
    recording = recordings.load(name)
    async with Engine("faq", max_num_queued_reqs=1) as engine, raw.connect(engine.url) as client:
        engine.hold()
        await client.send("POST", "/v1/completions", {"prompt": "a"})
        await engine.wait_for(lambda e: e.running == 1)
        same(await replay.ask(engine, recording), recording)
        assert engine.rejected == 1


@pytest.mark.parametrize("name", ["err_unauthorized", "err_unauthorized_rerank"])
async def test_a_missing_key_is_refused_in_the_recorded_bytes(name: str) -> None:
    recording = recordings.load(name)
    async with Engine("faq", api_key="secret") as engine:
        same(await replay.ask(engine, recording), recording)


@pytest.mark.parametrize("api", ["chat", "completion", "messages", "responses"])
async def test_an_engine_that_dies_ends_its_streams_as_recorded(api: str) -> None:
    recording = recordings.load(f"{api}_stream_engine_dead")
    (texts,) = replay.choices(recording)
    counted = {"count": lambda _: 9, "answer": lambda _: [*texts, "more"], "prompt_tokens_details": True}
    async with replay.engine(recording, **counted) as engine:
        events = recording.body.count(b"data: ") - {"chat": 2, "completion": 2, "messages": 1, "responses": 0}[api]
        engine.faults.append(Fault("error_event", after=events, message=DEAD))
        answer = await replay.ask(engine, recording)
        same(answer, recording)
        assert answer.whole == (api != "responses")


@pytest.mark.parametrize("api", ["chat", "messages", "responses"])
async def test_an_engine_that_dies_fails_what_is_not_streamed_as_recorded(api: str) -> None:
    recording = recordings.load(f"{api}_engine_dead")
    async with Engine("faq") as engine:
        engine.faults.append(Fault("error_event", message=DEAD))
        same(await replay.ask(engine, recording), recording)


async def test_an_idle_stream_is_kept_alive_as_recorded() -> None:
    recording = recordings.load("chat_stream_keep_alive")
    body = json.loads(recording.sent)
    async with replay.engine(recording, keep_alive_s=0.02) as engine, raw.connect(engine.url) as client:
        engine.hold()
        await client.send("POST", recording.path, body)
        answer = await client.head()
        answer.chunks += [await client.chunk(), await client.chunk()]
        engine.resume()
        while chunk := await client.chunk():
            answer.chunks.append(chunk)
        comments = answer.body.count(b": keep-alive\n\n")
        assert comments >= 2
        answer.chunks = answer.chunks[comments - 2 :]
        same(answer, recording)
        assert b"keep-alive" not in (await raw.post(engine.url, "/v1/messages", {"messages": [], "max_tokens": 1})).body


async def test_usage_of_a_message_says_what_the_cache_held_and_took_in() -> None:
    names = ("messages_cached_creation", "messages_cached")
    taken, held = [json.loads(recordings.load(name).body)["usage"] for name in names]
    words = " ".join(map(str, range(40)))
    body = {"messages": [{"role": "user", "content": words}], "max_tokens": 1}
    async with Engine("faq", prompt_tokens_details=True) as engine:
        first, second = [(await raw.post(engine.url, "/v1/messages", body)).json["usage"] for _ in range(2)]
    assert list(first) == list(taken) == list(held)
    assert list(first.values()) == [8, 1, 32, 0]
    assert list(second.values()) == [8, 1, 0, 32]
