"""What an engine is to the simulator and to the cost of requests: how much it holds, and how long a step takes.

A step of vLLM computes one token for each sequence that decodes, and chunks of prompts beside them. Its time:

    t = base_s + prefill_token_s · prompt tokens + sequence_s · sequences that decode + context_token_s · their contexts

`base_s` reads the weights and launches the kernels, `prefill_token_s` is arithmetic, `sequence_s` what a decoding
sequence adds by itself, `context_token_s` reads the KV cache.

The simulator needs the terms in seconds. To split a GPU's cost only their ratios matter: an engine that is twice as
fast in everything has the same shares.
"""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AwareDatetime, Field, FiniteFloat

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
    vLLM's flags; `gpus` is how many one replica takes. A fit holds for one `model` on one kind of `gpu` with the engine
    `flags` that it was made with, and `fitted_at` says when.
    """

    name: str
    source: str = ""
    kv_tokens: Count
    kv_block: Annotated[int, Field(ge=1, le=1024)] = 16
    max_num_seqs: Count = 256
    max_num_batched_tokens: Count = 8192
    gpus: Annotated[int, Field(ge=1, le=1024)] = 1
    model: str | None = None
    gpu: str | None = None
    flags: dict[str, str | bool | int | FiniteFloat] = Field(default_factory=dict)
    fitted_at: AwareDatetime | None = None
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
H100 = EngineProfile(
    name="h100-8b",
    source=(
        "An 8B model (8.03e9) in bf16 on one H100: 16.1 GB read at 80 % of 3.35 TB/s (6 ms); 16.1 GFLOP a token at "
        "66 % of 989 TFLOP/s (25 us), of which a sequence that decodes counts 60 % (15 us), since the reads hide the "
        "rest; 32 layers of 8 KV heads of 128 are 131 kB a token of context, read at full speed (39 ns); 0.9 of 80 GB "
        "less weights and 3.5 GB of activations are 400,000 tokens of KV cache. Computed, not measured."
    ),
    kv_tokens=400_000,
    step=StepTime(base_s=0.006, prefill_token_s=25e-6, sequence_s=15e-6, context_token_s=39e-9),
)
PROFILES = {each.name: each for each in (H100, H100X2, A10G)}
LONGEST = 200
"""Of a name in an error."""
DEFAULT = H100
"""Whose terms split a GPU's cost where a pool names no profile: a place to start from until it is calibrated."""


def find(name: str) -> EngineProfile:
    """A profile by its name here, or by the path of its YAML file. Raises InputError."""
    if name in PROFILES:
        return PROFILES[name]
    path = Path(name)
    try:
        there = path.exists()
    except OSError as error:  # a folder that may not be entered, a name that is too long
        raise InputError(f"the engine profile {name[:LONGEST]!r} cannot be read: {error.strerror}") from error
    if not there:
        raise InputError(
            f"no engine profile {name!r}: expected {', '.join(sorted(PROFILES))}, or a file that "
            "`gateway simulate fit` or `gateway costs calibrate` wrote with --out FILE"
        )
    return documents.load(path, EngineProfile)


def save(profile: EngineProfile, path: Path) -> None:
    """Write a profile as the YAML that `find` reads. Raises InputError."""
    text = yaml.safe_dump(profile.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be written: {error.strerror}; name another file") from error
