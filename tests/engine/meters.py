"""The simulator's `/metrics` page: vLLM's names, help texts, label order and number format."""

from collections.abc import Sequence

from tests.engine.core import Core

Rows = Sequence[tuple[str, float]]

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"
_WAITING = (
    "Number of waiting requests by reason. Reason labels: 'capacity' = waiting for scheduling capacity; 'deferred' = "
    "deferred by transient constraints (LoRA budget, KV transfer, blocked status). Sum of all reasons equals "
    "vllm:num_requests_waiting."
)
_SLEEP = (
    "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; "
    "weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2."
)
_LEVELS = ("awake", "weights_offloaded", "discard_all")
_REASONS = ("stop", "length", "abort", "error", "repetition")


def _family(name: str, kind: str, text: str, rows: Rows) -> list[str]:
    lines = [f"# HELP vllm:{name} {text}", f"# TYPE vllm:{name} {kind}"]
    return lines + [f"vllm:{name}{{{labels}}} {float(value)}" for labels, value in rows]


def render(core: Core, model: str) -> bytes:
    """The page, with the names in vLLM's order."""
    one = f'engine="0",model_name="{model}"'
    queries = core.prompt_tokens
    rejected = [
        (f'model_name="{model}",reason="max_num_queued_reqs"', core.rejected),
        (f'model_name="{model}",reason="max_num_queued_tokens"', 0),
    ]
    ended = [(f'engine="0",finished_reason="{why}",model_name="{model}"', core.success[why]) for why in _REASONS]
    waiting = [(f'{one},reason="capacity"', core.waiting), (f'{one},reason="deferred"', 0)]
    sleep = [(f'{one},sleep_state="{name}"', core.sleep_level == level) for level, name in enumerate(_LEVELS)]
    prefix = "in terms of number of"
    families: list[tuple[str, str, str, Rows]] = [
        ("num_requests_running", "gauge", "Number of requests in model execution batches.", [(one, core.running)]),
        ("num_requests_waiting", "gauge", "Number of requests waiting to be processed.", [(one, core.waiting)]),
        ("num_requests_waiting_by_reason", "gauge", _WAITING, waiting),
        ("engine_sleep_state", "gauge", _SLEEP, sleep),
        ("kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage.", [(one, core.cache.usage)]),
        ("prefix_cache_queries_total", "counter", f"Prefix cache queries, {prefix} queried tokens.", [(one, queries)]),
        (
            "prefix_cache_hits_total",
            "counter",
            f"Prefix cache hits, {prefix} cached tokens.",
            [(one, core.cached_tokens)],
        ),
        ("num_preemptions_total", "counter", "Cumulative number of preemption from the engine.", [(one, 0)]),
        ("prompt_tokens_total", "counter", "Number of prefill tokens processed.", [(one, core.prompt_tokens)]),
        (
            "prompt_tokens_cached_total",
            "counter",
            "Number of cached prompt tokens (local + external).",
            [(one, core.cached_tokens)],
        ),
        (
            "generation_tokens_total",
            "counter",
            "Number of generation tokens processed.",
            [(one, core.generated_tokens)],
        ),
        ("request_success_total", "counter", "Count of successfully processed requests.", ended),
        (
            "admission_rejections_total",
            "counter",
            "Number of admission attempts rejected by a queue limit, by reason.",
            rejected,
        ),
    ]
    return ("\n".join(line for family in families for line in _family(*family)) + "\n").encode()
