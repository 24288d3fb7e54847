"""The numbers of a body that say how much may be generated: checked before anything is reserved or forwarded.

They are read as the engine reads them, so that no way to write one is larger there than here: a whole number, the same
as a float (`1e3`) or in quotes. What is harmless (0, or an -1 that asks for every log probability) passes, and is the
engine's to judge.
"""

from collections.abc import Mapping

import msgspec

from gateway.contracts.errors import InvalidRequest
from gateway.policy.endpoints import Wire
from gateway.policy.multipart import Form

MOST_TOKENS = 2**31 - 1
"""Of all answers to one request together: no engine has room for more, and at the dearest price that a price file takes
their cost still fits a ledger's 64 bits."""
MOST_CHOICES = 2**14
"""Answers to one prompt."""

_TOKENS, _CHOICES, _PROBABILITIES = (0, MOST_TOKENS), (0, MOST_CHOICES), (-1, MOST_TOKENS)
BOUNDS: dict[str, tuple[int, int]] = {
    "max_tokens": _TOKENS,
    "max_completion_tokens": _TOKENS,
    "max_output_tokens": _TOKENS,
    "min_tokens": _TOKENS,
    "n": _CHOICES,
    "best_of": _CHOICES,
    "logprobs": _PROBABILITIES,
    "top_logprobs": _PROBABILITIES,
    "prompt_logprobs": _PROBABILITIES,
}
"""Fields, each with the least and the most that it may be."""
_FLAGS = frozenset({"logprobs", "prompt_logprobs"})
"""Those that are true or false on some wires."""
LIMITS: dict[Wire, tuple[str, ...]] = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
    "audio": ("max_completion_tokens",),
}
"""What each wire that generates calls the most tokens of an answer; the first that is set counts. A name of another
wire is one that the engine ignores."""
_PLAIN = 4
"""So few digits are a number below every bound."""
_SHORT = 9
"""Digits that are fewer than ten make a number below every engine's limit."""

_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def number(told: bytes) -> int | None:
    """A whole number as JSON has it; None for null. Raises ValueError for anything else."""
    if told.isdigit() and len(told) <= _SHORT:  # nearly every one
        return int(told)
    if told == b"null":
        return None
    if told[:1] == b'"':
        told = told[1:-1]
        if not told.isdigit():
            raise ValueError("a text")
    value = float(told) if len(told) > _SHORT or not told.lstrip(b"-").isdigit() else int(told)
    if value != value // 1:  # neither is infinity, and NaN is not equal to itself
        raise ValueError("no whole number")
    return int(value)


def check(fields: Mapping[str, msgspec.Raw]) -> None:
    """Raise InvalidRequest for a number that is none, is negative, or is larger than anything could be."""
    for name in fields:
        if name in BOUNDS:
            told = bytes(fields[name])
            if len(told) > _PLAIN or not told.isdigit():
                _within(name, told, BOUNDS[name])


def check_product(fields: Mapping[str, msgspec.Raw], wire: Wire, limit: int) -> None:
    """Raise InvalidRequest where all answers together, each of so many tokens, are larger than anything could be."""
    if limit * answers(fields, wire) > MOST_TOKENS:
        name = next(name for name in LIMITS[wire] if name in fields)
        raise InvalidRequest(
            f"the field {name!r} times the number of answers should be at most {MOST_TOKENS}", param=name
        )


def check_form(form: Form) -> None:
    """The same for a form."""
    for name, bounds in BOUNDS.items():
        if name in form.parts and (told := form.text(name)) is not None:
            _within(name, told.encode(), bounds)


def _within(name: str, told: bytes, bounds: tuple[int, int]) -> None:
    if name in _FLAGS and told in (b"true", b"false"):
        return
    least, most = bounds
    try:
        value = number(told)
    except (ValueError, OverflowError):
        value = most + 1
    if value is not None and not least <= value <= most:
        raise InvalidRequest(f"the field {name!r} should be a whole number from {least} to {most}", param=name)


def stated(fields: Mapping[str, msgspec.Raw], wire: Wire) -> int | None:
    """The most tokens that a body allows one answer; None where it does not say. It was checked."""
    for name in LIMITS.get(wire, ()):
        if name in fields and (limit := number(bytes(fields[name]))) is not None:
            return limit
    return None


def stated_in_form(form: Form) -> int | None:
    """The same for a form."""
    told = form.text("max_completion_tokens")
    return None if told is None else number(told.encode())


def choices(fields: Mapping[str, msgspec.Raw]) -> int:
    """How many answers each prompt gets (`n`). It was checked."""
    return number(bytes(fields["n"])) or 1 if "n" in fields else 1


def beams(form: Form) -> int:
    """How many answers are kept side by side for a form that was checked: `n` of a beam search, whatever is shown."""
    told = form.text("n")
    return 1 if told is None else number(told.encode()) or 1


def answers(fields: Mapping[str, msgspec.Raw], wire: Wire) -> int:
    """How many answers are generated for a body that was checked: for each of its prompts, shown or not (`best_of`)."""
    if wire not in ("chat", "completions"):
        return 1
    count = choices(fields)
    if "best_of" in fields:
        count = max(count, number(bytes(fields["best_of"])) or 1)
    return count * prompts(fields, wire)


def prompts(fields: Mapping[str, msgspec.Raw], wire: Wire) -> int:
    """How many prompts a body has: of completions, texts, lists of tokens, or embeddings. At least one."""
    if wire != "completions":
        return 1
    return max(1, sum(_items(bytes(fields[name])) for name in ("prompt", "prompt_embeds") if name in fields))


def _items(told: bytes) -> int:
    """How many of a list; of tokens it is one, however many they are, and their list is not read."""
    if not told.startswith(b"["):
        return int(told != b"null")
    first = told[1:17].lstrip()[:1] or told[1:].lstrip()[:1]
    return 1 if first.isdigit() else max(1, len(_list(told)))
