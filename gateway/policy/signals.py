"""What an engine's `/metrics` page says of its load.

vLLM labels each family with the `engine` that it speaks of: the ranks of data parallelism, each with a KV cache of its
own, behind one address. Names have moved between versions, so each is looked for by all that it had. What a page does
not say is None, never zero; a family that only some of the engines have says nothing.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

KV_USAGE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
RUNNING = ("vllm:num_requests_running",)
WAITING = ("vllm:num_requests_waiting",)
CONFIG = ("vllm:cache_config_info",)
STARTED = ("process_start_time_seconds",)
SLEEP = ("vllm:engine_sleep_state",)
PROMPT = ("vllm:prompt_tokens_total", "vllm:prompt_tokens")
CACHED = (
    "vllm:prompt_tokens_cached_total",
    "vllm:prompt_tokens_cached",
    "vllm:prefix_cache_hits_total",
    "vllm:prefix_cache_hits",
)
GENERATED = ("vllm:generation_tokens_total", "vllm:generation_tokens")

MOST = 2.0**53
"""What a float counts exactly. A larger number is nobody's load, and its sums and products end in infinity."""
_DIGITS = 15
"""Of a number in a label: it is smaller than `MOST`."""

_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Signals:
    """One engine at the moment `at`, or all that are behind one address together. None: it does not say.

    `kv_usage` is the part of the KV cache that requests hold, 0 to 1, the mean of several engines; `running` and
    `waiting` are requests; `capacity` is the KV cache's size in tokens, and `caches` whether it keeps prefixes;
    `started_at` is when the process began, in seconds of the epoch.
    """

    at: float
    kv_usage: float | None = None
    running: int | None = None
    waiting: int | None = None
    capacity: int | None = None
    caches: bool | None = None
    started_at: float | None = None
    asleep: bool | None = None

    @property
    def missing(self) -> list[str]:
        """The families that routing reads and this page lacks, by their newest names."""
        pairs = ((self.kv_usage, KV_USAGE), (self.waiting, WAITING), (self.capacity, CONFIG))
        return [names[0] for value, names in pairs if value is None]


def read_signals(page: bytes, at: float, rank: int | None = None) -> Signals:
    """The signals of a page; of one rank alone, where that is asked for."""
    usage, running, waiting = (_by_engine(page, names) for names in (KV_USAGE, RUNNING, WAITING))
    engines = usage.keys() | running.keys() | waiting.keys()
    if rank is not None:
        engines &= {str(rank)}
    used, run, wait = (_of_all(engines, found) for found in (usage, running, waiting))
    capacity, caches = _cache(page, rank)
    started = [value for _, value in _rows(page, STARTED)]
    return Signals(
        at=at,
        kv_usage=None if used is None else max(0.0, min(1.0, sum(used) / len(used))),
        running=None if run is None else int(sum(run)),
        waiting=None if wait is None else int(sum(wait)),
        capacity=capacity,
        caches=caches,
        started_at=started[0] if started else None,
        asleep=asleep_by_metrics(page),
    )


@dataclass(frozen=True, slots=True)
class Tally:
    """The tokens that an engine has counted since its process began, at `started_at`. None: it does not say.

    `prompt` includes `cached`. A prompt of several choices counts once for each.
    """

    started_at: float | None = None
    prompt: int | None = None
    cached: int | None = None
    generated: int | None = None


def read_tally(page: bytes, rank: int | None = None) -> Tally:
    """The counters of a page; of one rank alone, where that is asked for."""
    started = [value for _, value in _rows(page, STARTED)]
    return Tally(started[0] if started else None, *(_sum(page, names, rank) for names in (PROMPT, CACHED, GENERATED)))


def _sum(page: bytes, names: Sequence[str], rank: int | None) -> int | None:
    told = [value for labels, value in _rows(page, names) if rank is None or labels.get("engine") in (None, str(rank))]
    return int(sum(told)) if told else None


def asleep_by_metrics(page: bytes) -> bool | None:
    """Whether the engine sleeps by `vllm:engine_sleep_state` (`awake` is 0); None when its page does not say.

    With data parallelism the engines of one server sleep and wake together: one that sleeps is enough.
    """
    values = [value for labels, value in _rows(page, SLEEP) if labels.get("sleep_state") == "awake"]
    return 0.0 in values if values else None


def _cache(page: bytes, rank: int | None) -> tuple[int | None, bool | None]:
    """(tokens, whether prefixes are kept). A server that was started without prefix caching holds none.

    An engine with one kind of layer holds blocks x their size; one with several kinds says what that comes to.
    """
    sizes, kept = [], []
    for labels, _ in _rows(page, CONFIG):
        if rank is None or labels.get("engine") in (None, str(rank)):
            told, blocks, block = (
                _whole(labels.get(name)) for name in ("kv_cache_size_tokens", "num_gpu_blocks", "block_size")
            )
            sizes.append(told or (blocks * block if blocks and block else None))
            kept.append(labels.get("enable_prefix_caching"))
    tokens = sum(size for size in sizes if size is not None) if sizes and None not in sizes else None
    caches = "False" not in kept if kept and None not in kept else None
    return tokens, caches


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) <= _DIGITS else None


def _by_engine(page: bytes, names: Sequence[str]) -> dict[str, float]:
    return {labels.get("engine", ""): value for labels, value in _rows(page, names)}


def _of_all(engines: set[str], found: dict[str, float]) -> list[float] | None:
    """The values of all engines; None where one of them has none, or there are no engines."""
    return [found[engine] for engine in engines] if engines and engines <= found.keys() else None


def _rows(page: bytes, names: Sequence[str]) -> Iterator[tuple[dict[str, str], float]]:
    """(labels, value) of each sample of a family, by the first of its names that the page has. NaN is no value,
    and neither is what is larger than `MOST`.

    Found by searching for the name, since a page has some hundred families and a handful is read of them.
    """
    for name in names:
        told, at = False, 0
        sought = name.encode()
        while (at := page.find(sought, at)) >= 0:
            begins, at = at == 0 or page[at - 1 : at] == b"\n", at + len(sought)
            if begins and page[at : at + 1] in (b"{", b" "):
                told = True
                end = page.find(b"\n", at)
                yield from _sample(page[at : None if end < 0 else end])
        if told:
            return


def _sample(rest: bytes) -> Iterator[tuple[dict[str, str], float]]:
    """What follows a family's name in its line: `{labels} value`, and maybe a time."""
    text = rest.decode(errors="replace")
    inner, brace, tail = text.rpartition("}")
    try:
        value = float((tail if brace else text).split()[0])
    except (ValueError, IndexError):
        return
    if abs(value) <= MOST:  # NaN is not
        yield dict(_LABEL.findall(inner)), value
