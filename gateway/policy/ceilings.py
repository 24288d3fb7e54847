"""The most that a request can cost, before it is sent: what a budget holds back while it runs.

    list money   prompt tokens x the dearer of input and cached input
                 + output tokens x the dearer of output and reasoning
    GPU money    price per second x the time that the model takes for it alone x `SAFETY`

A prompt has no more tokens than its body has bytes, and what the chat template adds (`TEMPLATE_TOKENS`). That does not
hold for what the engine fetches or renders itself (images, sound, a client's own template), and an output need not be
limited by the request: then the model's context bounds both, where the engines have told it. Where nothing does, `most`
of the estimate is taken: it is no bound, and such a request can exceed a budget, by what it costs more. Long sound can
too: vLLM cuts it into clips, each of which may be as long as the context, and how many is not seen from outside. GPU
money is an estimate as well: an engine may be slower than its model.
"""

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from gateway.config import Deployment, Release
from gateway.contracts.prices import PriceBook
from gateway.contracts.usage import Usage
from gateway.policy import counts
from gateway.policy.endpoints import Wire
from gateway.policy.shapes import Request
from gateway.settings.profile import StepTime

NANO = 1_000_000_000
TEMPLATE_TOKENS = 512
"""What a chat template adds that is in no body: instructions of its own, names of tools, marks of turns."""
MOST = 10**17
"""Nano; no request costs as much. What a number of a client comes to is cut here, so that every store can hold it."""
SAFETY = 2.0
"""GPU money: an engine with other work beside has longer steps than one that is modelled alone."""

_RENDERED = re.compile(
    rb'"(?:image|video|audio)_(?:url|pil|embeds)"|"input_(?:image|audio|video|file)"|"image"|"document"|"file"|'
    rb'"chat_template"|\\u00[4-7]'
)
"""What a prompt of more tokens than bytes begins with; the last is a letter in hiding: honest encoders write none."""
_HINTS = (
    b'_url"', b'_pil"', b'_embeds"', b'"input_', b'"image"', b'"document"', b'"file"', b'"chat_template"', b"\\u00"
)  # fmt: skip
"""Without one of these there is none of those: a search for plain bytes takes a tenth of the time."""
_SAMPLED = frozenset({"chat", "completions", "responses", "audio"})
"""Wires into which a release's own `max_tokens` is written."""

_any = msgspec.json.Decoder().decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Bound(msgspec.Struct, frozen=True, gc=False):
    """Prompt and output tokens of a request at most, the output over all of its choices. `sequences` run side by side.

    `known` is False where no bound was known and an estimate stands in.
    """

    prompt: int
    output: int
    sequences: int = 1
    known: bool = True


def bound(request: Request, system: int, sampled: int | None, context: int | None, most: int) -> Bound:
    """The bound of a request; `system` bytes of the release's own prompt, `sampled` its own limit of output tokens,
    `context` what the model can hold at most, None where that is unknown."""
    wire, fields = request.endpoint.wire, request.fields
    prompts, sequences = 1, request.choices
    if wire in ("pooling", "tokenize", "count_tokens"):
        limit: int | None = 0
    elif request.form is not None:
        limit = None
    else:
        limit = _limit(fields, wire, sampled if wire in _SAMPLED else None)
        prompts, sequences = counts.prompts(fields, wire), counts.answers(fields, wire)
    plain = request.form is None and not _renders(request.body)
    prompt = len(request.body) + system + prompts * TEMPLATE_TOKENS if plain else None
    if context is None:
        if prompt is None or limit is None:
            return Bound(
                most if prompt is None else prompt, most if limit is None else limit * sequences, sequences, False
            )
        return Bound(prompt, limit * sequences, sequences)
    room = context * prompts
    prompt = room if prompt is None else min(prompt, room)
    return Bound(prompt, (context if limit is None else min(limit, context)) * sequences, sequences)


def _renders(body: bytes) -> bool:
    """Whether the engine may make more of a body than its bytes."""
    for hint in _HINTS:
        if hint in body:
            return _RENDERED.search(body) is not None
    return False


def _limit(fields: Mapping[str, msgspec.Raw], wire: Wire, sampled: int | None) -> int | None:
    """The most output tokens of one choice, by whichever of the names the engine reads; None: nothing that is sure."""
    told = [fields[name] for name in counts.LIMITS.get(wire, ()) if name in fields]
    stated = [each for each in map(_value, told) if each is not None]
    if not stated:
        return None if told else sampled
    if any(type(each) is not int or each < 1 for each in stated):
        return None
    return int(max(stated))


def _value(raw: msgspec.Raw) -> Any:
    try:
        return _any(raw)
    except _UNREADABLE:
        return ""


class Rate(msgspec.Struct, frozen=True):
    """What a replica's time costs, in nano of the currency a second, and how its steps take time.

    `chunk` is how many prompt tokens a step takes at most.
    """

    nano_s: float
    step: StepTime
    chunk: int = 8192

    def most(self, bound: Bound) -> int:
        """Nano for a request that has the engine for itself, times `SAFETY`."""
        step, tokens, sequences = self.step, bound.output / bound.sequences, bound.sequences
        mean = bound.prompt + tokens / 2
        seconds = step.base_s * math.ceil(bound.prompt / self.chunk) + step.prefill_token_s * bound.prompt
        seconds += tokens * (step.base_s + sequences * (step.sequence_s + step.context_token_s * mean))
        return min(MOST, math.ceil(self.nano_s * seconds * SAFETY))

    def share(self, usage: Usage, in_flight: int) -> int:
        """Nano for a request that has ended: its own part of every step, and its part of the fixed time among the
        requests that were `in_flight` at its end, itself included. An estimate: closing the hour tells the truth."""
        step, output = self.step, usage.output_tokens
        uncached = max(0, usage.input_tokens - (usage.cached_tokens or 0))
        steps = math.ceil(uncached / self.chunk) + output
        own = step.prefill_token_s * uncached
        own += output * (step.sequence_s + step.context_token_s * (usage.input_tokens + output / 2))
        return min(MOST, round(self.nano_s * (own + step.base_s * steps / max(1, in_flight))))


class Ceiling(msgspec.Struct, frozen=True):
    """What the dearest of those that may answer for a model asks: nano for a million tokens, and its GPUs' rates.

    `read` and `written` are None where nobody has a list price. `system` bytes of a release's own prompt and `sampled`
    output tokens, a release's own limit, are the most of any of them; `sampled` None: one has no limit.
    """

    read: int | None = None
    written: int | None = None
    rates: tuple[Rate, ...] = ()
    system: int = 0
    sampled: int | None = None

    def listed(self, bound: Bound) -> int:
        """Nano of list money, rounded up."""
        total = bound.prompt * (self.read or 0) + bound.output * (self.written or 0)
        return min(MOST, -(-total // 1_000_000))

    def rented(self, bound: Bound) -> int:
        """Nano of GPU money."""
        return max((rate.most(bound) for rate in self.rates), default=0)


def ceiling(book: PriceBook, releases: Sequence[Release], rates: Mapping[str, Rate]) -> Ceiling:
    """The ceiling of the releases that may answer, those of the model's fallbacks among them; `rates` by pool."""
    read, written = list[int](), list[int]()
    for model in {release.model for release in releases}:
        entry: Any = book.models.get(model)
        for price in entry if isinstance(entry, tuple) else (entry,):  # each of its periods
            if price is None or isinstance(price, str):
                continue
            amounts = price.model_dump(exclude_none=True)
            read.append(_dearest(amounts, "input", "cached_input"))
            written.append(_dearest(amounts, "output", "reasoning"))
    limits = [release.manifest.sampling.max_tokens for release in releases]
    stated = [limit for limit in limits if limit is not None]
    return Ceiling(
        max(read, default=None),
        max(written, default=None),
        tuple(rates[pool] for pool in sorted({release.pool for release in releases}) if pool in rates),
        max((len((release.system or "").encode()) for release in releases), default=0),
        max(stated) if stated and len(stated) == len(limits) else None,
    )


def may_answer(deployment: Deployment) -> dict[str, list[Release]]:
    """The releases that may answer for each model: its own, those of its fallbacks, and of theirs."""
    own = dict[str, list[Release]]()
    for release in deployment.releases.values():
        own.setdefault(release.model, []).append(release)
    found = {}
    for name in deployment.config.models:
        models, queue = dict[str, None](), [name]  # in an order that is the same each time, which a set's is not
        while queue:
            if (model := queue.pop()) not in models:
                models[model] = None
                queue += deployment.config.models[model].fallback
        found[name] = [release for model in models for release in own.get(model, ())]
    return found


def ceilings(deployment: Deployment, rates: Mapping[str, Rate]) -> dict[str, Ceiling]:
    """The ceiling of every model."""
    return {name: ceiling(deployment.prices, each, rates) for name, each in may_answer(deployment).items()}


def _dearest(amounts: Mapping[str, Any], *names: str) -> int:
    dearest: Decimal = max(amounts[name] for name in names if name in amounts)
    return math.ceil(dearest * NANO)
