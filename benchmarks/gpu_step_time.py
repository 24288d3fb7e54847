"""How long a step of an 8B-shaped decoder takes on this GPU, and the step model fitted to it.

    python -m benchmarks.gpu_step_time --out h100.yaml --rows h100.jsonl       about 5 minutes on one GPU
    python -m benchmarks.gpu_step_time --device cpu --shape tiny               a look, without a GPU

Random weights in the shape of an 8B model (32 layers, hidden 4096, 32 heads, 8 KV heads, FFN 14336), in plain PyTorch
(`benchmarks/gpu_decoder.py`): what a step costs does not depend on what the weights say. One step computes a chunk of a
prompt, one token for each sequence that decodes, or both together, as vLLM's do; on a GPU it is captured as a CUDA
graph, so that launching kernels is not what is measured. After a warm-up each step is taken `--repeats` times between
two CUDA events, and the median counts.

It prints Markdown: every step with what the fitted model says of it, the terms, and how well they fit. PyTorch has to
be installed by the one who runs it; nothing of the product needs it.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from gateway.settings.profile import EngineProfile, save
from gateway.simulation.fit import Fit, Window, fit, quality

KV_TOKENS = 200_000
"""Contexts of one step, summed: 26 GB of an 8B model's KV cache, which leaves room beside its weights."""


@dataclass(frozen=True)
class Shape:
    """A decoder: its sizes, and the loads by which it is measured."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    ffn: int
    vocabulary: int
    batches: Sequence[int]
    contexts: Sequence[int]
    prompts: Sequence[int]

    @property
    def head(self) -> int:
        """The width of one head."""
        return self.hidden // self.heads

    @property
    def parameters(self) -> int:
        """Of the matrices; the norms are nothing beside them."""
        attention = self.hidden * self.head * 2 * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.ffn) + 2 * self.vocabulary * self.hidden


SHAPES = {
    "8b": Shape(32, 4096, 32, 8, 14336, 128_256, (1, 4, 16, 64, 128, 256), (128, 1024, 4096, 16_384),
                (128, 512, 2048, 8192)),
    "tiny": Shape(2, 64, 4, 2, 128, 256, (1, 4, 16), (16, 128), (16, 128)),
}  # fmt: skip


class Load(NamedTuple):
    """What is in a step: tokens of a prompt, and so many sequences that decode, each with so long a context."""

    prefill: int
    batch: int
    context: int


class Row(NamedTuple):
    """A load, its median seconds, and how far its repeats lie apart: between their quartiles, by the median."""

    load: Load
    step_s: float
    spread: float


def grid(shape: Shape, kv_tokens: int = KV_TOKENS) -> list[Load]:
    """Every batch with every context that fits, every prompt alone, and prompts beside batches."""
    pairs = [(batch, context) for batch in shape.batches for context in shape.contexts if batch * context <= kv_tokens]
    alone = [Load(0, *pair) for pair in pairs] + [Load(prompt, 0, 0) for prompt in shape.prompts]
    return alone + [Load(prompt, *pair) for prompt in shape.prompts[:-1] for pair in pairs[1::3]]


def row(load: Load, seconds: Sequence[float]) -> Row:
    """The median of the repeats, of which there are two or more."""
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return Row(load, median, (high - low) / median)


def windows(rows: Sequence[Row]) -> list[Window]:
    """What the fit reads: each load is a window of one step."""
    return [
        Window(each.step_s, each.load.prefill, each.load.batch, each.load.batch * each.load.context, 1.0)
        for each in rows
    ]


def markdown(rows: Sequence[Row], fitted: Fit, about: str) -> str:
    """The tables: terms with their worth, and every step."""
    lines = [
        f"{about}.",
        "",
        "| term | microseconds | share of the time | mean error without it |",
        "|---|---:|---:|---:|",
    ]
    for term in fitted.terms:
        lines.append(f"| {term.name} | {term.seconds * 1e6:,.4g} | {term.share:.1%} | {term.error_without:.1%} |")
    quality_line = (
        f"{fitted.windows} loads: R² {fitted.r2:.4f}, and {fitted.cross_validated_r2:.4f} where each is told by a fit "
        f"to the others; the time of a step to within {fitted.mean_error:.1%} on average."
    )
    lines += [
        "",
        quality_line,
        "",
        "| prompt tokens | sequences | context of each | step ms | fitted ms | error | spread |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for each in rows:
        prefill, batch, context = each.load
        told = fitted.step.of(prefill, batch, batch * context)
        lines.append(
            f"| {prefill} | {batch} | {context} | {each.step_s * 1e3:.3f} | {told * 1e3:.3f} "
            f"| {told / each.step_s - 1:+.1%} | {each.spread:.1%} |"
        )
    return "\n".join(lines)


def profile(name: str, fitted: Fit, about: str, gpu: str, at: datetime) -> EngineProfile:
    """The profile of the fit; the KV cache is what the loads were bounded by."""
    return EngineProfile(
        name=name,
        source=f"{about}, {fitted.windows} loads",
        kv_tokens=KV_TOKENS,
        gpu=gpu,
        fitted_at=at,
        step=fitted.step,
        fit=quality(fitted, None),
    )


def as_json(each: Row, about: str) -> str:
    """One measurement on a line."""
    return json.dumps({**each.load._asdict(), "step_s": each.step_s, "spread": round(each.spread, 4), "about": about})


def main() -> None:
    """Measure, fit, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu")
    parser.add_argument("--shape", choices=SHAPES, default="8b")
    parser.add_argument("--warm", type=int, default=5, help="steps of each load before those that count")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--eager", action="store_true", help="without CUDA graphs: kernels are launched one by one")
    parser.add_argument("--out", type=Path, help="write the profile there (YAML)")
    parser.add_argument("--rows", type=Path, help="write every measurement there (JSON lines)")
    options: Any = parser.parse_args()
    # Only here: everything above is used where PyTorch is not.
    from benchmarks.gpu_decoder import Bench

    shape, now = SHAPES[options.shape], datetime.now(UTC).replace(microsecond=0)
    loads = grid(shape)
    bench = Bench(shape, options.device, loads, eager=options.eager)
    about = f"{shape.parameters:,} random weights in {bench.dtype} on {bench.gpu}, PyTorch {bench.version}"
    rows = [row(load, bench.seconds(load, options.warm, options.repeats)) for load in loads]
    if options.rows is not None:
        options.rows.write_text("".join(as_json(each, about) + "\n" for each in rows), encoding="utf-8")
    fitted = fit(windows(rows))
    print(markdown(rows, fitted, f"{about}, {now:%Y-%m-%d}"))
    if options.out is not None:
        save(profile(options.out.stem, fitted, about, bench.gpu, now), options.out)


if __name__ == "__main__":
    main()
