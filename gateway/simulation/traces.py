"""Traces: who asked when for how much, and which prompts began alike. No text, so nothing private.

One JSON object a line, in the format of Mooncake (FAST 2025), which other tools read and write too:

    {"timestamp": 1200, "input_length": 1300, "output_length": 52, "hash_ids": [46, 47, 2353]}

`timestamp` in milliseconds from the start; `hash_ids` one number for each block of 512 tokens of the prompt, chained,
so that an equal number means that everything up to there is equal; the last block may be a part of one. A line may add
`tenant`, `model`, `class`, `priority` (the level of the class, higher first) and `block_tokens`, where a block is
another size. Tollgate's own export does, but the ledger keeps no classes: there `class` is "" and `priority` 0.
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from gateway.contracts import documents
from gateway.contracts.errors import DocumentError, Mistake

BLOCK_TOKENS = 512
"""Of a block whose size the line does not say: Mooncake's."""
MOST_MISTAKES = 20
"""Told of one file: the rest is likely the same one."""
MOST_TOKENS = 100_000_000
MOST_MS = 1e13
"""Milliseconds since the epoch come to that in 2286; a float still tells microseconds apart there."""

_Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]
_Some = Annotated[int, msgspec.Meta(ge=1, le=MOST_TOKENS)]


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """One request of a trace.

    `at` in seconds from the start of the trace; `blocks` the chained hashes of the whole blocks of its prompt, each of
    `block_tokens` tokens; what is left of the prompt is shared with nobody.
    """

    at: float
    input_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()
    block_tokens: int = BLOCK_TOKENS
    tenant: str = ""
    model: str = ""
    class_name: str = ""
    level: int = 0
    weight: float = 1.0


class _Line(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    timestamp: Annotated[float, msgspec.Meta(ge=0)]
    input_length: _Some
    output_length: _Count
    hash_ids: tuple[Annotated[int, msgspec.Meta(ge=0)], ...] = ()
    tenant: str = ""
    model: str = ""
    class_: str = msgspec.field(default="", name="class")
    priority: int = 0
    block_tokens: _Some = BLOCK_TOKENS


_FIELDS = ", ".join(each.encode_name for each in msgspec.structs.fields(_Line))
_decoder = msgspec.json.Decoder(_Line)


def read(path: Path) -> list[Arrival]:
    """The requests of a trace file in the order of their times, the first at 0.

    Raises DocumentError with the mistakes found, each with its line: a line that is wrong is never left out.
    """
    return parse(documents.read_text(path).splitlines(), str(path))


def parse(lines: Iterable[str], path: str) -> list[Arrival]:
    """The same of lines. Empty ones are passed over."""
    found: list[Arrival] = []
    mistakes: list[Mistake] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(_arrival(_decoder.decode(line)))
        except (msgspec.DecodeError, ValueError) as error:
            mistakes.append(Mistake(number, "", _told(error)))
            if len(mistakes) == MOST_MISTAKES:
                raise DocumentError(path, mistakes, "(and perhaps more: the rest was not read)") from error
    if mistakes:
        raise DocumentError(path, mistakes)
    if not found:
        raise DocumentError(path, [Mistake(1, "", "expected one JSON object a line, found none")])
    start = min(each.at for each in found)
    return sorted((msgspec.structs.replace(each, at=each.at - start) for each in found), key=lambda each: each.at)


def lines(arrivals: Iterable[Arrival]) -> Iterator[str]:
    """Arrivals as lines of a trace file, without their line ends."""
    for each in arrivals:
        line = _Line(
            timestamp=round(each.at * 1000, 3),
            input_length=each.input_tokens,
            output_length=each.output_tokens,
            hash_ids=each.blocks,
            tenant=each.tenant,
            model=each.model,
            class_=each.class_name,
            priority=each.level,
            block_tokens=each.block_tokens,
        )
        yield msgspec.json.encode(line).decode()


def _arrival(line: _Line) -> Arrival:
    if line.timestamp > MOST_MS:
        raise ValueError(
            f"expected a timestamp in milliseconds, at most {MOST_MS:,.0f}, found {line.timestamp:g}: "
            "microseconds and nanoseconds have to be divided"
        )
    most = math.ceil(line.input_length / line.block_tokens)
    if len(line.hash_ids) > most:
        raise ValueError(
            f"expected at most {most} hash_ids, one for each {line.block_tokens} of {line.input_length} tokens, "
            f"found {len(line.hash_ids)}: say `block_tokens` where a block is another size"
        )
    return Arrival(
        at=line.timestamp / 1000,
        input_tokens=line.input_length,
        output_tokens=line.output_length,
        blocks=line.hash_ids[: line.input_length // line.block_tokens],
        block_tokens=line.block_tokens,
        tenant=line.tenant,
        model=line.model,
        class_name=line.class_,
        level=line.priority,
    )


def _told(error: Exception) -> str:
    if "unknown field" in str(error):
        return f"{error}: the fields known here are {_FIELDS}"
    return str(error)
