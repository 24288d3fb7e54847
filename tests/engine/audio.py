"""`/v1/audio/transcriptions` and `/v1/audio/translations`: forms with a WAV file, answered in text."""

import io
import math
import wave
from typing import Any

from tests.engine.core import Run
from tests.engine.job import Job, Limits, Refusal, required, served
from tests.engine.wire import DONE, Stamp, dumps, error_events, event

FRAMES_PER_S = 100
"""Whisper's: each is counted as a token of the prompt."""
TASK_TOKENS = 4
"""Those that tell Whisper what to do: start, language, task, no timestamps."""
DEFAULTED = frozenset(
    {
        *("frequency_penalty", "include_stop_str_in_output", "length_penalty", "n", "presence_penalty", "prompt"),
        *("response_format", "stream", "stream_continuous_usage_stats", "stream_include_usage", "temperature"),
        *("timestamp_granularities[]", "use_beam_search"),
    }
)
"""The fields that vLLM counts as given, whether they were or not."""


def decode(body: bytes, content_type: str) -> dict[str, Any]:
    """The fields of a multipart form: the file as bytes, the others as text. Anything else has no fields."""
    kind, _, boundary = content_type.partition("boundary=")
    if not kind.lower().startswith("multipart/form-data") or not boundary:
        return {}
    fields: dict[str, Any] = {}
    for part in body.split(b"--" + boundary.strip('"').encode())[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        data = value.removesuffix(b"\r\n")
        fields[name] = data if b"filename=" in head else data.decode()
    return fields


def speech(body: dict[str, Any], limits: Limits) -> Job:
    """Speech to be written down."""
    file = required(body, "file", items=len(DEFAULTED | set(body)))
    stream = body.get("stream") == "true"
    wanted = [name for name in ("stream_include_usage", "stream_continuous_usage_stats") if body.get(name) == "true"]
    if wanted and not stream:
        message = f"Stream options can only be defined when `stream=True`. (parameter={wanted[0]})"
        raise Refusal(400, message, param=wanted[0])
    model = served(body, limits)
    seconds = duration(file)
    tokens = TASK_TOKENS + limits.count(body.get("prompt", "")) + math.ceil(round(seconds * FRAMES_PER_S, 6))
    usage = "stream_include_usage" in wanted
    return Job(
        model=model,
        prompts=(f"audio of {seconds:g} seconds",),
        texts=("",),
        prompt_tokens=(tokens,),
        body={**body, "seconds": seconds},
        stream=stream,
        include_usage=usage,
        continuous=usage and len(wanted) == 2,
        limit=int(body.get("max_completion_tokens", limits.max_model_len)),
    )


def duration(file: bytes) -> float:
    """How long a WAV file plays, in seconds. Raises Refusal for anything else."""
    try:
        with wave.open(io.BytesIO(file)) as sound:
            return sound.getnframes() / sound.getframerate()
    except (wave.Error, EOFError) as error:
        message = "Invalid or corrupted audio data. Ensure the input is a valid audio or video file "
        raise Refusal(400, message + "(e.g. a complete WAV, MP3, or MP4).") from error


class Transcription:
    """`/v1/audio/transcriptions`: paid by the second where it is whole, by the token where it is streamed."""

    kind = "transcription.chunk"

    def __init__(self, stamp: Stamp, job: Job) -> None:
        self.stamp, self.job = stamp, job

    def whole(self, run: Run) -> bytes:
        """The body of an answer that is not streamed."""
        seconds = self.job.body["seconds"]
        if self.job.body.get("response_format") == "verbose_json":
            head = {"duration": seconds, "language": self.job.body.get("language", "en"), "text": run.text(0)}
            return dumps({**head, "segments": [], "words": None})
        return dumps({"text": run.text(0), **self._paid(seconds)})

    def _paid(self, seconds: float) -> dict[str, Any]:
        return {"usage": {"type": "duration", "seconds": math.ceil(seconds)}} if self.stamp.usage else {}

    def opened(self) -> list[bytes]:
        """Nothing."""
        return []

    def started(self) -> list[bytes]:
        """Nothing."""
        return []

    def token(self, index: int, text: str, tokens: int, finish: str | None) -> list[bytes]:
        """A delta; the last one says why the text ended. Tokens without a text leave no trace."""
        if not text and not finish:
            return []
        end = {"finish_reason": finish, "stop_reason": None} if finish else {}
        counted = self._usage(tokens) if self.job.continuous else {}
        return [self._chunk([{"delta": {"content": text}, **end}], counted)]

    def _chunk(self, choices: list[dict[str, Any]], counted: dict[str, Any]) -> bytes:
        head = {"id": self.stamp.id, "object": self.kind, "created": self.stamp.created, "model": self.stamp.model}
        return event({**head, "choices": choices, **counted})

    def _usage(self, tokens: int) -> dict[str, Any]:
        prompt = self.job.prompt_tokens[0]
        counted = {"prompt_tokens": prompt, "total_tokens": prompt + tokens, "completion_tokens": tokens}
        return {"usage": counted} if self.stamp.usage else {}

    def ended(self, run: Run) -> list[bytes]:
        """The chunk without choices, where usage was asked for, and `[DONE]`."""
        counted = self._usage(run.made[0]) if self.job.include_usage else {}
        return [self._chunk([], counted), DONE] if counted else [DONE]

    def failed(self, refusal: Refusal) -> list[bytes] | None:
        """An event with the error, and `[DONE]`."""
        return error_events(refusal)


class Translation(Transcription):
    """`/v1/audio/translations`: no usage at all where it is whole."""

    kind = "translation.chunk"

    def _paid(self, seconds: float) -> dict[str, Any]:
        return {}
