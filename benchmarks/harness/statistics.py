"""How long the statistics of a large run take: read two logs, compare them, decide, and resample.

    python -m benchmarks.harness.statistics --samples 100000 --resamples 10000

Prints one JSON object for each step, with its CPU seconds. Scores are of two kinds: 0 or 1, as of an exact match, and
all different, as of a judge that gives shares.
"""

import argparse
import gc
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from evals import compare, dataset, resampling, run_log
from evals.cli import NEW_OBJECTS
from evals.evidence import gather
from evals.gate import decide
from evals.gate_config import GateConfig, MetricConfig
from evals.lines import Manifest, Record
from evals.schema import Answer, Score
from gateway.contracts import canonical

SAMPLES, RESAMPLES = 100_000, 10_000
METRICS = ("exact", "share")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
Result = TypeVar("Result")


def write(path: Path, samples: int, release: str, seed: int) -> None:
    """A whole run log: half of the samples have one tag, half another; every tenth one shares its cluster."""
    rng = random.Random(seed)
    digests = {f"s{number:07d}": canonical.digest(f"sample {number}") for number in range(samples)}
    manifest = Manifest(
        suite="large",
        suite_digest=canonical.digest("large"),
        dataset="large.jsonl",
        dataset_sha256=dataset.whole_digest(digests),
        samples=samples,
        epochs=1,
        model=release,
        params={},
        system=None,
        scorers=[{"name": name} for name in METRICS],
    )
    said = {"finish_reason": "stop", "input_tokens": 31, "output_tokens": 12, "latency_s": 0.25, "cost": "0.0001"}
    answer = Answer(text="some words " * 5, release=release, release_digest=canonical.digest(release), **said)  # type: ignore[arg-type]
    with run_log.Writer(path, manifest) as writer:
        for number, (name, digest) in enumerate(digests.items()):
            scores = {"exact": Score(float(rng.random() < 0.8)), "share": Score(rng.random())}
            cluster = f"c{number // 20}" if number % 10 == 0 else None
            tags = ["even" if number % 2 == 0 else "odd"]
            about: dict[str, Any] = {"id": name, "digest": digest, "cluster": cluster, "tags": tags}
            writer.write(Record(**about, outcome="scored", scores=scores, answer=answer))
        writer.seal()


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    since = time.process_time()
    result = work()
    return time.process_time() - since, result


def measure(folder: Path, samples: int, resamples: int) -> Iterator[tuple[str, float]]:
    """(what, CPU seconds) of each step."""
    paths = [folder / "baseline.jsonl", folder / "candidate.jsonl"]
    seconds, _ = _timed(lambda: [write(path, samples, f"m@{n}", n) for n, path in enumerate(paths, start=1)])
    yield "write both logs", seconds
    seconds, logs = _timed(lambda: [run_log.read(path) for path in paths])
    yield "read both, every line's hash checked", seconds
    seconds, (baseline, candidate) = _timed(lambda: [gather(log) for log in logs])
    yield "gather the evidence of both", seconds
    for name, kind in zip(METRICS, ("0 or 1", "all different"), strict=True):
        seconds, _ = _timed(lambda name=name: compare.paired(candidate, baseline, name, alpha=0.05))  # type: ignore[misc]
        yield f"pair, both bounds, scores {kind}", seconds
    gate = GateConfig(
        gate="large",
        suite="large",
        dataset_sha256=candidate.log.manifest.dataset_sha256,
        metrics=tuple(MetricConfig(metric=name, test="noninferior", margin=0.02, planned_sd=0.6) for name in METRICS),
    )
    seconds, decision = _timed(lambda: decide(gate, candidate, baseline, now=NOW, harness="bench"))
    if decision.answer != "pass":
        raise RuntimeError(f"the gate should pass and says {decision.answer!r}: {decision.reason}")
    yield "a gate's whole decision on both", seconds
    for name, kind in zip(METRICS, ("0 or 1", "all different"), strict=True):
        clusters = compare.differences(candidate, baseline, name)
        rng = resampling.generator(1)
        seconds, _ = _timed(lambda c=clusters, r=rng: resampling.bootstrap(c, rng=r, resamples=resamples))  # type: ignore[misc]
        yield f"bootstrap of {resamples:,} resamples, scores {kind}", seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=SAMPLES, help="of each of the two runs")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help="of each bootstrap")
    options = parser.parse_args()
    gc.set_threshold(NEW_OBJECTS, 20, 20)  # as the command line does
    with tempfile.TemporaryDirectory(prefix="bench-statistics-") as folder:
        for step, seconds in measure(Path(folder), options.samples, options.resamples):
            row = {"samples": options.samples, "step": step, "cpu_s": round(seconds, 3)}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
