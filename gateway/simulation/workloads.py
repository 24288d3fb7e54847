"""Made-up traces whose answers are known: published workloads, and controls that a policy must not gain from.

Each is a function of a random generator, a rate and a duration, so one seed is one trace, whatever is tried on it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

from gateway.simulation.traces import Arrival

BLOCK = 240
"""Tokens of a block of a made-up prompt: 15 blocks of vLLM. It divides the lengths below."""
PREFIXES, USERS = 150, 5
PREFIX_TOKENS, QUESTION_TOKENS, ANSWER_TOKENS = 6000, 1200, 145
VTC_TOKENS = 256

Maker = Callable[[Random, float, float], list[Arrival]]


@dataclass(frozen=True)
class Workload:
    """A made-up trace, and where it is meant to be run.

    `make(random, rate, seconds)`: `rate` in requests per second, of all tenants together.
    """

    make: Maker
    about: str
    rate: float
    seconds: float
    replicas: int
    engine: str
    max_in_flight: int | None = None


def poisson(random: Random, rate: float, seconds: float) -> Iterator[float]:
    """The times of a Poisson process of `rate` per second."""
    now = random.expovariate(rate)
    while now < seconds:
        yield now
        now += random.expovariate(rate)


def evenly(rate: float, seconds: float, start: float = 0.0) -> Iterator[float]:
    """Times that are evenly apart, from `start` on."""
    for number in count():
        now = start + number / rate
        if now >= seconds:
            return
        yield now


def llm_d(random: Random, rate: float, seconds: float) -> list[Arrival]:
    """llm-d's business-to-business benchmark: 150 customers with a prefix of 6,000 tokens, 5 users each.

    Each request is a new question of 1,200 tokens of one of the users, Poisson, answered with 145 tokens. So at most
    0.833 of the prompts can come from a cache.
    """
    prefixes = [_blocks(random, PREFIX_TOKENS) for _ in range(PREFIXES)]
    found = []
    for at in poisson(random, rate, seconds):
        user = random.randrange(PREFIXES * USERS)
        blocks = prefixes[user // USERS] + _blocks(random, QUESTION_TOKENS)
        tenant = f"customer-{user // USERS}"
        found.append(Arrival(at, PREFIX_TOKENS + QUESTION_TOKENS, ANSWER_TOKENS, blocks, BLOCK, tenant))
    return found


def unique(random: Random, rate: float, seconds: float) -> list[Arrival]:
    """The control: prompts of 7,200 tokens that share nothing, so no cache and no affinity can help."""
    size = PREFIX_TOKENS + QUESTION_TOKENS
    return [
        Arrival(at, size, ANSWER_TOKENS, _blocks(random, size), BLOCK, f"customer-{random.randrange(PREFIXES)}")
        for at in poisson(random, rate, seconds)
    ]


def overload(_: Random, rate: float, seconds: float) -> list[Arrival]:
    """VTC's overload (OSDI 2024): two tenants, one asks twice as often, 256 tokens in and 256 out, evenly apart.

    At 4.5 per second in all, 1.5 and 3, both ask for more than half of what its engine gives.
    """
    return _merged([_asked("one", evenly(rate / 3, seconds)), _asked("two", evenly(rate * 2 / 3, seconds))])


def weighted(_: Random, rate: float, seconds: float) -> list[Arrival]:
    """Two tenants that ask equally often for too much, of which the second weighs twice as much."""
    return _merged(
        [_asked("one", evenly(rate / 2, seconds)), _asked("two", evenly(rate / 2, seconds, 0.01), weight=2.0)]
    )


def returns(_: Random, rate: float, seconds: float) -> list[Arrival]:
    """Two tenants that ask equally often for too much, but the second is idle for the first third of the time."""
    return _merged([_asked("here", evenly(rate / 2, seconds)), _asked("back", evenly(rate / 2, seconds, seconds / 3))])


def on_off(_: Random, rate: float, seconds: float) -> list[Arrival]:
    """One tenant asks all the time, for less than its half; one asks four times as much, every other minute."""
    steady, bursts = rate * 0.2, rate * 0.8
    on = (at for at in evenly(bursts, seconds) if int(at // 60) % 2 == 0)
    return _merged([_asked("steady", evenly(steady, seconds)), _asked("on-off", on)])


def proportional(_: Random, rate: float, seconds: float) -> list[Arrival]:
    """Three tenants that ask 1 : 2 : 6."""
    shares = {"one": 1 / 9, "two": 2 / 9, "six": 6 / 9}
    return _merged([_asked(tenant, evenly(rate * share, seconds)) for tenant, share in shares.items()])


_FLEET, _ENGINE = "h100x2-qwen3-32b", "a10g-llama-7b"
WORKLOADS: dict[str, Workload] = {
    "llm-d": Workload(llm_d, "150 shared prefixes of 6,000 tokens", 60.0, 120.0, 8, _FLEET),
    "unique": Workload(unique, "as long, and sharing nothing: a control", 60.0, 120.0, 8, _FLEET),
    "overload": Workload(overload, "two tenants that ask for too much, 1 : 2", 4.5, 360.0, 1, _ENGINE, 17),
    "weighted": Workload(weighted, "two that ask for too much, and weigh 1 : 2", 6.0, 360.0, 1, _ENGINE, 17),
    "returns": Workload(returns, "one of two comes back from idle", 6.0, 360.0, 1, _ENGINE, 17),
    "on-off": Workload(on_off, "a steady tenant and one that bursts", 2.5, 360.0, 1, _ENGINE, 17),
    "proportional": Workload(proportional, "three tenants that ask 1 : 2 : 6", 4.5, 360.0, 1, _ENGINE, 17),
}
"""By name, each with the rate, the duration and the fleet that it is meant for."""


def _blocks(random: Random, tokens: int) -> tuple[int, ...]:
    return tuple(random.getrandbits(64) for _ in range(tokens // BLOCK))


def _asked(tenant: str, times: Iterator[float], weight: float = 1.0) -> list[Arrival]:
    return [Arrival(at, VTC_TOKENS, VTC_TOKENS, tenant=tenant, weight=weight) for at in times]


def _merged(asked: list[list[Arrival]]) -> list[Arrival]:
    return sorted((each for tenant in asked for each in tenant), key=lambda each: each.at)
