"""What an engine is to the simulator: how much it holds, and how long a step takes.

A step of vLLM computes one token for each sequence that decodes, and chunks of prompts beside them. Its time:

    t = base_s + prefill_token_s · prompt tokens + sequence_s · sequences that decode + context_token_s · their contexts

`base_s` reads the weights and launches the kernels, `prefill_token_s` is arithmetic, `sequence_s` what a decoding
sequence adds by itself, `context_token_s` reads the KV cache.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from gateway.contracts import documents
from gateway.contracts.errors import InputError

Term = Annotated[float, Field(ge=0, le=3600)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]


class StepTime(documents.Frozen):
    """The four terms of the time of a step, in seconds."""

    base_s: Annotated[float, Field(gt=0, le=3600)]
    prefill_token_s: Term
    sequence_s: Term
    context_token_s: Term

    def of(self, prefill_tokens: float, sequences: float, context: float) -> float:
        """Seconds of one step; `context` is the sum over the sequences that decode."""
        return (
            self.base_s
            + self.prefill_token_s * prefill_tokens
            + self.sequence_s * sequences
            + self.context_token_s * context
        )


class Quality(documents.Frozen):
    """How well a fitted profile tells the steps it was fitted to: see `gateway.simulation.fit`."""

    windows: Count
    r2: float
    cross_validated_r2: float
    mean_error: float
    ttft_error: float | None = None


class EngineProfile(documents.Frozen):
    """One kind of engine. `source` says where its numbers come from.

    `kv_tokens` is what its KV cache holds, in blocks of `kv_block`; `max_num_seqs` and `max_num_batched_tokens` are
    vLLM's flags; `gpus` is how many one replica takes.
    """

    name: str
    source: str = ""
    kv_tokens: Count
    kv_block: Annotated[int, Field(ge=1, le=1024)] = 16
    max_num_seqs: Count = 256
    max_num_batched_tokens: Count = 8192
    gpus: Annotated[int, Field(ge=1, le=1024)] = 1
    step: StepTime
    fit: Quality | None = None


H100X2 = EngineProfile(
    name="h100x2-qwen3-32b",
    source=(
        "Qwen3-32B in bf16 on two H100: KV cache as in llm-d's benchmark; 32.8e9 parameters are 65.6 GB read at 80 % "
        "of 6.7 TB/s (12 ms) and 65.6 GFLOP a token at 66 % of 1,979 TFLOP/s (50 us); 64 layers of 8 KV heads of 128 "
        "are 262 kB a token of context, read at full speed (40 ns). Computed, not measured."
    ),
    kv_tokens=307_328,
    gpus=2,
    step=StepTime(base_s=0.012, prefill_token_s=50e-6, sequence_s=30e-6, context_token_s=40e-9),
)
A10G = EngineProfile(
    name="a10g-llama-7b",
    source=(
        "Llama-2-7b in fp16 on an A10G with the 10,000 tokens of KV cache of the VTC paper: 13.5 GB read at 80 % of "
        "600 GB/s (28 ms), 13.5 GFLOP a token at half of 125 TFLOP/s (215 us), 524 kB a token of context (1.1 us). "
        "Computed, not measured."
    ),
    kv_tokens=10_000,
    max_num_batched_tokens=2048,
    step=StepTime(base_s=0.028, prefill_token_s=215e-6, sequence_s=50e-6, context_token_s=1.1e-6),
)
PROFILES = {each.name: each for each in (H100X2, A10G)}


def find(name: str) -> EngineProfile:
    """A profile by its name here, or by the path of its YAML file. Raises InputError."""
    if name in PROFILES:
        return PROFILES[name]
    path = Path(name)
    if not path.exists():
        raise InputError(
            f"no engine profile {name!r}: expected {', '.join(sorted(PROFILES))}, or a file that "
            "`gateway simulate fit --out FILE` wrote"
        )
    return documents.load(path, EngineProfile)
