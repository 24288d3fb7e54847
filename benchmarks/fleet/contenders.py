"""Who routes: each gateway once for each of its policies, with its own defaults, for the engines of the fleet.

What a gateway does on a period, it does `scale` times as often where that can be set, since simulated time passes
`scale` times as fast: Tollgate's look at the engines' load. The routers' own periods (health, eviction of their trees)
are whole seconds, and longer than a run: their trees do not fill up in it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import gateways, tollgate
from benchmarks.gateways import Launch, Place
from gateway.policy.routing import POLICIES

EAGER = ("--balance-abs-threshold", "8", "--balance-rel-threshold", "1.1")
"""A variant of the peers' cache_aware that looks at load sooner: by default they do when 64 requests lie between."""


@dataclass(frozen=True)
class Contender:
    """A gateway with a policy. Without `launch` the load goes to the engines itself, by the field `spread`.

    `session` is the field that the header `x-session-id` tells, for a policy that goes by it: the customer, whose
    prompts begin alike, as whoever runs such a policy would choose. Simulated time passes `slower` for one that would
    be limited by its own core otherwise, which favours it: whatever takes a gateway real time weighs less.
    """

    gateway: str
    policy: str
    launch: Callable[[Place, float], Launch] | None = None
    spread: str = "number"
    session: str | None = None
    slower: float = 1.0

    @property
    def name(self) -> str:
        """As it is asked for on the command line."""
        return f"{self.gateway}:{self.policy}".replace(", ", "_").replace(" ", "_")


def _flags(policy: str, more: Sequence[str] = ()) -> tuple[str, ...]:
    start = ("--worker-startup-check-interval", "1")
    return ("--policy", policy, *start, "--max-concurrent-requests", "32768", *more)


def _sglang(policy: str, more: Sequence[str] = ()) -> Callable[[Place, float], Launch]:
    return lambda place, _scale: gateways.sglang_router(place, _flags(policy, more))


def _vllm(policy: str, more: Sequence[str] = ()) -> Callable[[Place, float], Launch]:
    return lambda place, _scale: gateways.vllm_router(place, _flags(policy, more))


def _ours(policy: str) -> Callable[[Place, float], Launch]:
    def launch(place: Place, scale: float) -> Launch:
        (place.folder / "secret").write_text("the same hashes in every run", encoding="utf-8")
        top = f"health: {{scrape: {1.0 / scale}}}\nrouting: {{hash_key: {{file: secret}}}}\n"
        setup = tollgate.Setup(pool=f"policy: {policy}", top=top)
        gate = tollgate.prepare(place.folder, place.port, place.engines, setup)
        return Launch(gate.version, gate.command, headers=(f"authorization: Bearer {gate.key}",))

    return launch


# vllm-router has each request tokenized by all engines before its cache_aware chooses one.
_TOKENIZES = 4.0
_ALL = (
    Contender("no gateway", "in turn"),
    Contender("no gateway", "by customer", spread="customer"),
    Contender("sglang-router", "cache_aware", _sglang("cache_aware")),
    Contender("sglang-router", "cache_aware, eager", _sglang("cache_aware", EAGER)),
    Contender("sglang-router", "power_of_two", _sglang("power_of_two")),
    Contender("vllm-router", "cache_aware", _vllm("cache_aware"), slower=_TOKENIZES),
    Contender("vllm-router", "cache_aware, eager", _vllm("cache_aware", EAGER), slower=_TOKENIZES),
    Contender("vllm-router", "consistent_hash", _vllm("consistent_hash"), session="customer"),
    Contender("vllm-router", "consistent_hash, users", _vllm("consistent_hash"), session="user"),
    Contender("vllm-router", "power_of_two", _vllm("power_of_two")),
    # Our consistent hashing goes by the session where there is one, and by the beginning of the prompt otherwise.
    *(
        Contender("tollgate", policy, _ours(policy), session="customer" if policy == "session_affinity" else None)
        for policy in POLICIES
    ),
    Contender("tollgate", "session_affinity, users", _ours("session_affinity"), session="user"),
)
CONTENDERS = {each.name: each for each in _ALL}
DEFAULT = (
    "sglang-router:cache_aware",
    "vllm-router:cache_aware",
    "vllm-router:consistent_hash",
    *(f"tollgate:{policy}" for policy in POLICIES),
)
"""What a run without `--only` compares; the others answer questions of their own."""
