#!/usr/bin/env python3
"""Train several seeds, degrade each, and record every exact match in ``study.json`` for ``analyse.py``.

Folders that already hold a model are not trained again. Needs what ``train.py`` needs.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from degrade import DEFAULT_BITS, WEIGHTS, degrade_folder
from evaluate import marks, sample
from train import HERE, Recipe, read

# Roundings that should do no harm: a gate that stops them is too strict.
CAREFUL_BITS = (4, 6, 8)

Rows = list[dict[str, Any]]


def train(seed: int, steps: int, threads: int, out: Path) -> float:
    """Train one seed in a process of its own, as a reader would, and return the seconds it took."""
    started = time.perf_counter()
    command = [sys.executable, str(HERE / "train.py"), "--out", str(out), "--seed", str(seed)]
    subprocess.run([*command, "--steps", str(steps), "--threads", str(threads)], check=True)
    seconds = round(time.perf_counter() - started, 1)
    (out / "seconds.txt").write_text(f"{seconds}\n", encoding="utf-8")
    return seconds


def measure(folder: Path, known: Rows, heldout: Rows) -> dict[str, str]:
    """Return the marks of a model on the training sample and on the held-out questions, one character each."""
    return {
        "train": "".join(map(str, marks(folder, known))),
        "heldout": "".join(map(str, marks(folder, heldout))),
    }


def main() -> None:
    """Run the study and write its raw figures."""
    parser = argparse.ArgumentParser(description="Train and measure several seeds; write study.json.")
    parser.add_argument("--work", type=Path, required=True, help="folder for the trained models, one folder a seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="seeds (default: 0 1 2 3 4)")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="training steps (default: %(default)s)")
    parser.add_argument("--sample", type=int, default=1000, help="training questions to ask (default: %(default)s)")
    parser.add_argument(
        "--bits", type=int, default=DEFAULT_BITS, help="bits of the degraded model (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    known, heldout = sample(read(HERE / "train.jsonl"), args.sample), read(HERE / "heldout.jsonl")
    runs = []
    for seed in args.seeds:
        good, rounded = args.work / f"seed-{seed}", args.work / f"seed-{seed}-rounded"
        if (good / WEIGHTS).is_file():
            seconds = float((good / "seconds.txt").read_text(encoding="utf-8"))
        else:
            seconds = train(seed, args.steps, args.threads, good)
        degrade_folder(good, rounded, args.bits)
        run: dict[str, Any] = {"seed": seed, "train_seconds": seconds}
        run |= {"good": measure(good, known, heldout), "degraded": measure(rounded, known, heldout)}
        run["careful"] = {}
        for bits in CAREFUL_BITS:
            degrade_folder(good, rounded, bits)
            run["careful"][str(bits)] = measure(rounded, known, heldout)
        runs.append(run)
        print(f"seed {seed} done", flush=True)
    facts = {
        "cores": os.cpu_count(),
        "threads": args.threads,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "torch": torch.__version__,
    }
    result = {"machine": facts, "steps": args.steps, "bits": args.bits, "runs": runs}
    (HERE / "study.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
