"""What is asked: who asks what and when, the same for every gateway, since it follows from the seed alone."""

import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

TOKEN_CHARS = 4
"""A token of the simulated engines is four characters; every word of a prompt is three letters and a space."""
NUMBER_CHARS = 8
"""A question begins with the number of its request, by which engine and load speak of it."""
MODEL = "bench"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_POOL_WORDS = 1 << 18


@dataclass(frozen=True)
class Workload:
    """Rates are requests per simulated second; no more than `seeds` are of interest.

    The rate climbs from `first` to `rate` in `ramp_s`, and is then held. What arrives while it climbs fills the caches
    and is not measured. Without prefixes each prompt is unique.
    """

    name: str
    title: str
    prefixes: int
    users: int
    prefix_tokens: int
    question_tokens: int
    first: float
    rate: float
    ramp_s: float
    hold_s: float
    seeds: int
    output_tokens: int = 145


@dataclass(frozen=True)
class Request:
    """One request: `at` is in simulated seconds from the start.

    `customer` has the system prompt, and `user` is one of its users, or, where prompts are unique, one more customer.
    """

    number: int
    at: float
    customer: int
    user: int
    measured: bool


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("shared", "150 prefixes of 6,000 tokens, questions of 1,200", 150, 5, 6000, 1200, 3, 60, 30, 40, 100),
        Workload("unique", "unique prompts of 7,200 tokens", 0, 0, 0, 7200, 3, 8, 5, 30, 3),
        Workload("seldom", "unique prompts, so seldom that hardly two meet", 0, 0, 0, 7200, 0.25, 0.25, 0, 300, 3),
    )
}
"""`shared` is llm-d's workload: many customers with a system prompt each. `unique` and `seldom` are negative controls:
no cache helps, so policies differ by how they spread load, and where load hardly matters they should not differ."""


def requests(workload: Workload, seed: int) -> list[Request]:
    """Arrivals of a Poisson process whose rate climbs and is then held."""
    draw = random.Random(f"{workload.name} {seed}")
    found: list[Request] = []
    expected = 0.0
    while True:
        expected += draw.expovariate(1.0)
        at = _when(workload, expected)
        if at >= workload.ramp_s + workload.hold_s:
            return found
        number = len(found)
        customer = draw.randrange(workload.prefixes) if workload.prefixes else number
        user = customer * workload.users + draw.randrange(workload.users) if workload.users else number
        found.append(Request(number, at, customer, user, at >= workload.ramp_s))


def _when(workload: Workload, expected: float) -> float:
    """The moment by which so many requests are expected: the inverse of first·t + (rate - first)·t² / (2·ramp)."""
    first, climb = workload.first, (workload.rate - workload.first) / workload.ramp_s if workload.ramp_s else 0.0
    in_ramp = (first + workload.rate) / 2 * workload.ramp_s
    if expected >= in_ramp:
        return workload.ramp_s + (expected - in_ramp) / workload.rate
    return 2 * expected / (first + math.sqrt(first * first + 2 * climb * expected))


class Texts:
    """The prompts of a workload and seed, as bodies of `/v1/chat/completions`."""

    def __init__(self, workload: Workload, seed: int) -> None:
        self._draw = random.Random(f"texts {workload.name} {seed}")
        self._workload = workload
        letters = self._draw.choices(_LETTERS, k=3 * _POOL_WORDS)
        self._pool = "".join(f"{a}{b}{c} " for a, b, c in zip(*[iter(letters)] * 3, strict=True))
        self._prefixes = [self._words(workload.prefix_tokens) for _ in range(workload.prefixes)]
        self._tail = json.dumps(
            {
                "max_tokens": workload.output_tokens,
                "ignore_eos": True,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        )[1:]

    def _words(self, tokens: int) -> str:
        start = self._draw.randrange(_POOL_WORDS - tokens) * TOKEN_CHARS
        return self._pool[start : start + tokens * TOKEN_CHARS]

    def body(self, request: Request) -> bytes:
        """The request's body. Each call draws another question: call it once for each request, in their order."""
        words = self._words(self._workload.question_tokens - NUMBER_CHARS // TOKEN_CHARS)
        system = f'{{"role":"system","content":"{self._prefixes[request.customer]}"}},' if self._prefixes else ""
        question = f'{{"role":"user","content":"{request.number:0{NUMBER_CHARS}d}{words}"}}'
        return f'{{"model":"{MODEL}","messages":[{system}{question}],{self._tail}'.encode()


def blocks(text: str, size: int) -> Iterator[int]:
    """Hashes of the full blocks of `size` characters, each with all before it, as an engine chains them."""
    last = 0
    for at in range(0, len(text) - size + 1, size):
        last = hash((last, text[at : at + size]))
        yield last


def number_of(contents: Sequence[str]) -> int:
    """The number of the request that a prompt belongs to; -1 for a gateway's own question."""
    head = contents[-1][:NUMBER_CHARS] if contents else ""
    return int(head) if len(head) == NUMBER_CHARS and head.isascii() and head.isdigit() else -1
