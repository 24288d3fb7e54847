"""What an engine's `/metrics` pages tell of its steps, for a fit: counts and sums, where routing reads what is now."""

import re
from typing import NamedTuple

from gateway.contracts.errors import InputError

MARK = "# scraped_at "
"""Begins a page in a file of pages, followed by its time in seconds."""

_SAMPLE = re.compile(r"^(vllm:\w+)(?:\{([^}]*)\})? (\S+)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Counters(NamedTuple):
    """What one look at `/metrics` tells, at a time in seconds. Counts and sums since the engine began.

    `computed` are prompt tokens that no cache gave, `written` the tokens of answers, `firsts` the answers begun;
    `until_first_s` and `inside_s` are the seconds that the ended ones spent inside the engine, queue included, until
    their first token and in all. `kv_usage` is now, 0 to 1, and `kv_tokens` what the KV cache holds.
    """

    at: float
    steps: float
    computed: float
    written: float
    firsts: float
    itl_s: float
    itls: float
    ended: float
    until_first_s: float
    inside_s: float
    kv_usage: float
    kv_tokens: int


def read_page(page: str, at: float) -> Counters:
    """The counters of a page. Raises InputError when it lacks one, or speaks of several engines."""
    found: dict[str, float] = {}
    kv_tokens, engines = 0, set()
    for name, text, value in _SAMPLE.findall(page):
        labels = dict(_LABEL.findall(text))
        engines.add(labels.get("engine", "0"))
        if name == "vllm:cache_config_info":
            kv_tokens = _kv_tokens(labels)
        elif name == "vllm:prompt_tokens_by_source_total":
            found[f"{name} {labels.get('source')}"] = float(value)
        else:
            found[name] = float(value)
    if len(engines) > 1:
        raise InputError(f"expected the metrics of one engine, found {len(engines)}: fit a server of one rank")

    def of(*names: str) -> float:
        for name in names:
            if name in found:
                return found[name]
        raise InputError(f"the engine does not say {names[0]!r}: vLLM 0.10 or newer does, with --enable-log-stats on")

    return Counters(
        at=at,
        steps=of("vllm:iteration_tokens_total_count"),
        computed=of("vllm:prompt_tokens_by_source_total local_compute", "vllm:prompt_tokens_total"),
        written=of("vllm:generation_tokens_total"),
        firsts=of("vllm:time_to_first_token_seconds_count"),
        itl_s=of("vllm:inter_token_latency_seconds_sum", "vllm:time_per_output_token_seconds_sum"),
        itls=of("vllm:inter_token_latency_seconds_count", "vllm:time_per_output_token_seconds_count"),
        ended=of("vllm:request_inference_time_seconds_count"),
        until_first_s=of("vllm:request_prefill_time_seconds_sum") + of("vllm:request_queue_time_seconds_sum"),
        inside_s=of("vllm:request_inference_time_seconds_sum") + of("vllm:request_queue_time_seconds_sum"),
        kv_usage=of("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        kv_tokens=kv_tokens,
    )


def read_pages(text: str) -> list[Counters]:
    """The counters of a file of pages, each after a line `# scraped_at SECONDS`. Raises InputError."""
    found = []
    for part in text.split(MARK)[1:]:
        moment, _, page = part.partition("\n")
        try:
            at = float(moment)
        except ValueError as error:
            raise InputError(f"expected seconds after {MARK!r}, found {moment!r}") from error
        found.append(read_page(page, at))
    if len(found) < 2:
        raise InputError(f"expected two pages or more, each after a line {MARK + 'SECONDS'!r}, found {len(found)}")
    return found


def _kv_tokens(labels: dict[str, str]) -> int:
    """What the KV cache holds, by `vllm:cache_config_info`; 0 where it does not say."""
    told = [labels.get(name, "") for name in ("kv_cache_size_tokens", "num_gpu_blocks", "block_size")]
    tokens, blocks, size = (int(each) if each.isdecimal() else 0 for each in told)
    return tokens or blocks * size
