"""Reads and refuses requests the way vLLM does, with its messages: what all endpoints share, chats and completions."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Pieces = Sequence[str]


class Refusal(Exception):
    """An error answer in vLLM's envelope, given by an endpoint's own code: each API words it its own way."""

    def __init__(self, status: int, message: str, kind: str = "BadRequestError", param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.param = status, message, kind, param

    def body(self) -> dict[str, Any]:
        """The envelope: the code is the status, an integer."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.status}}


class Invalid(Refusal):
    """A body that is not what the endpoint takes. Found before any endpoint's code runs, and so worded alike by all."""

    def __init__(self, detail: str, param: str | None) -> None:
        super().__init__(400, f"1 validation error:\n  {detail}", "Bad Request", param)


class Unreadable(Invalid):
    """A body that is not text in UTF-8: FastAPI's own answer, which vLLM does not touch."""

    def __init__(self) -> None:
        super().__init__("", None)

    def body(self) -> dict[str, Any]:
        """No envelope at all."""
        return {"detail": "There was an error parsing the body"}


@dataclass(frozen=True, slots=True)
class Job:
    """One inference request: what is to be answered (`prompts`), what is to be prefilled (`texts`), and how it is to be
    reported. `n` is 0 where nothing is generated. `tool` is the function that has to be called.
    """

    model: str
    prompts: tuple[str, ...]
    texts: tuple[str, ...]
    prompt_tokens: tuple[int, ...]
    body: dict[str, Any]
    stream: bool = False
    include_usage: bool = False
    continuous: bool = False
    n: int = 1
    limit: int = 1
    tool: str | None = None

    @property
    def ignore_eos(self) -> bool:
        """Whether to go on up to the limit."""
        return bool(self.body.get("ignore_eos"))


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request is checked against. `loras` are served beside the names, and not named in refusals. `apart` says
    that the model reads texts which it compares each by itself, and not in pairs.
    """

    names: tuple[str, ...]
    max_model_len: int
    count: Callable[[str], int]
    loras: tuple[str, ...] = ()
    apart: bool = False


def decode(body: bytes, content_type: str) -> dict[str, Any]:
    """The JSON object of a body. Raises Refusal as FastAPI's validation would, in vLLM's words."""
    if not body:
        raise Invalid("{'type': 'missing', 'loc': 'body', 'msg': 'Field required', 'input': 'None'}", "body")
    if not content_type.lower().startswith("application/json"):
        raise Invalid("Unsupported Media Type: Only 'application/json' is allowed", None)
    try:
        value = json.loads(body)
    except UnicodeDecodeError as error:
        raise Unreadable from error
    except json.JSONDecodeError as error:
        at = f"body.{error.pos}"
        raise Invalid(
            f"{{'type': 'json_invalid', 'loc': '{at}', 'msg': 'JSON decode error', "
            f"'input': '<dict of 0 items>', 'ctx': {{'error': '{error.msg}'}}}}",
            at,
        ) from error
    if not isinstance(value, dict):
        raise Invalid("{'type': 'model_attributes_type', 'loc': 'body', 'msg': 'Input should be an object'}", "body")
    return value


def required(body: dict[str, Any], name: str, items: int | None = None) -> Any:
    """A field that has to be there. `items`: how many vLLM counts in the body, where it has added some of its own."""
    if body.get(name) is None:
        found = f"'<dict of {len(body) if items is None else items} items>'"
        raise Invalid(
            f"{{'type': 'missing', 'loc': 'body.{name}', 'msg': 'Field required', 'input': {found}}}", f"body.{name}"
        )
    return body[name]


def _invalid(message: str, param: str, value: object) -> Refusal:
    return Refusal(400, f"{message} (parameter={param}, value={value})", param=param)


def chat(body: dict[str, Any], limits: Limits) -> Job:
    """A chat completion. The prompt is the last user message; its tokens are those of all messages."""
    messages = required(body, "messages")
    model = _common(body, limits)
    constraints = set(body.get("structured_outputs") or {}) & {"json", "regex", "choice"}
    if len(constraints) > 1:
        kinds = "('json', 'regex' or 'choice')"
        raise Refusal(400, f"You can only use one kind of constraints for structured outputs {kinds}.")
    names = [tool["function"]["name"] for tool in body.get("tools") or ()]
    choice = body.get("tool_choice") or "auto"
    tool = choice["function"]["name"] if isinstance(choice, dict) else names[0] if choice == "required" else None
    return conversation(messages, body, limits, model, tool)


def conversation(
    messages: Sequence[dict[str, Any]], body: dict[str, Any], limits: Limits, model: str, tool: str | None
) -> Job:
    """The job that a list of messages is, in whichever API they came."""
    if not messages:
        raise Refusal(400, "Cannot apply chat template to an empty conversation. Provide at least one message.")
    texts = [_text(message) for message in messages]
    asked = [text for message, text in zip(messages, texts, strict=True) if message.get("role") == "user"]
    return _job(body, limits, model, (asked or texts)[-1:], [" ".join(texts)], tool)


def completion(body: dict[str, Any], limits: Limits) -> Job:
    """A text completion: one prompt or several, each text or token ids."""
    prompt = body.get("prompt")
    if not prompt:
        raise Refusal(400, "Either prompt or prompt_embeds must be provided and non-empty.")
    model = _common(body, limits)
    texts = prompts(prompt)
    return _job(body, limits, model, texts, texts, None)


def prompts(given: Any) -> list[str]:
    """One prompt or several, each text or token ids."""
    several = isinstance(given, list) and bool(given) and not isinstance(given[0], int)
    return [each if isinstance(each, str) else " ".join(map(str, each)) for each in (given if several else [given])]


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content)


def served(body: dict[str, Any], limits: Limits) -> str:
    """The model that is asked for; the first where none is."""
    name = body.get("model") or limits.names[0]
    if name not in limits.names + limits.loras:
        known = ", ".join(limits.names)
        message = f"The model `{name}` does not exist. Valid aliases: {known}."
        raise Refusal(404, message, "NotFoundError", "model")
    return str(name)


def _common(body: dict[str, Any], limits: Limits) -> str:
    if body.get("stream_options") and not body.get("stream"):
        message = "Stream options can only be defined when `stream=True`. (parameter=stream_options)"
        raise Refusal(400, message, param="stream_options")
    model = served(body, limits)
    _sampling(body)
    return model


def _sampling(body: dict[str, Any]) -> None:
    temperature, top_p = body.get("temperature"), body.get("top_p")
    if isinstance(temperature, str):
        raise Invalid(
            "{'type': 'float_parsing', 'loc': 'body.temperature', 'msg': 'Input should be a valid number, unable to "
            f"parse string as a number', 'input': '{temperature}'}}",
            "body.temperature",
        )
    if temperature is not None and temperature < 0:
        value = float(temperature)
        raise _invalid(f"temperature must be non-negative, got {value}.", "temperature", value)
    if top_p is not None and not 0 < top_p <= 1:
        raise _invalid(f"top_p must be in (0, 1], got {float(top_p)}.", "top_p", float(top_p))
    if body.get("n", 1) < 1:
        raise Refusal(400, f"n must be at least 1, got {body['n']}.")


def _job(body: dict[str, Any], limits: Limits, model: str, asked: Pieces, counted: Pieces, tool: str | None) -> Job:
    tokens = tuple(limits.count(text) for text in counted)
    options = body.get("stream_options") or {}
    usage = bool(options.get("include_usage"))
    return Job(
        model=model,
        prompts=tuple(asked),
        texts=tuple(counted),
        prompt_tokens=tokens,
        stream=bool(body.get("stream")),
        include_usage=usage,
        continuous=usage and bool(options.get("continuous_usage_stats")),
        n=body.get("n") or 1,
        limit=_limit(body, limits.max_model_len, max(tokens)),
        tool=tool,
        body=body,
    )


def _limit(body: dict[str, Any], longest: int, prompt: int) -> int:
    """How many tokens may be generated: what was asked for, within what the context leaves."""
    asked = body.get("max_completion_tokens") or body.get("max_tokens") or body.get("max_output_tokens")
    if body.get("max_tokens") == 0:
        asked = 0
    if asked is not None and asked < 1:
        raise _invalid(f"max_tokens must be at least 1, got {asked}.", "max_tokens", asked)
    if asked is not None and asked > longest:
        message = f"max_tokens={asked} cannot be greater than max_model_len={longest}. "
        raise _invalid(message + "Please request fewer output tokens.", "max_tokens", asked)
    fits(prompt, longest)
    return max(1, min(longest - prompt, asked or longest))


def fits(prompt: int, longest: int) -> None:
    """Refuse a prompt that is longer than the context."""
    if prompt > longest:
        # The tokenizer stops one token past the limit, so that is all that vLLM can say.
        found = longest + 1
        raise _invalid(
            f"This model's maximum context length is {longest} tokens. However, your prompt contains at least {found} "
            "input tokens, which exceeds this limit even without any output tokens. "
            "Please reduce the length of the input prompt.",
            "input_tokens",
            found,
        )
