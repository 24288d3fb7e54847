#!/usr/bin/env python3
"""Write ``card.yaml``, the machine-readable card: every file with its sha256, and what they hold. Needs no package."""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from analyse import HERE, plan, share
from degrade import DEFAULT_BITS, WEIGHTS, degrade

MODEL = HERE / "model"
CODE = ("generate.py", "train.py", "degrade.py")
STUDY = ("study.json", "STUDY.md")


def sha256(path: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest(rows: list[dict[str, Any]]) -> str:
    """Return the digest of the samples, as `evals data lint` prints it: it depends on no order and no format."""

    def of(value: Any) -> str:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    return of(sorted((row["id"], of(row)) for row in rows))


def split(name: str) -> dict[str, Any]:
    """Return what one split holds."""
    path = HERE / f"{name}.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {
        "file": path.name,
        "sha256": sha256(path),
        "digest": digest(rows),
        "rows": len(rows),
        "clusters": len({r["cluster"] for r in rows}),
    }


def gate() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the planned gate and the committed model's scores, both from the study."""
    study = json.loads((HERE / "study.json").read_text(encoding="utf-8"))
    rows = (HERE / "heldout.jsonl").read_text(encoding="utf-8").splitlines()
    found = plan(study, [json.loads(line)["cluster"] for line in rows])
    run = next(r for r in study["runs"] if r["seed"] == found["chosen"])
    planned = {
        "metric": "exact_match",
        "margin": found["margin"],
        "alpha": 0.05,
        "planned_power": round(found["power"], 3),
        "sd_of_differences": round(found["sd"], 4),
        "design_effect": round(found["deff"], 2),
        "n": found["n"],
        "n_effective": round(found["n_eff"]),
    }
    scores = {
        "seed": run["seed"],
        "steps": study["steps"],
        "exact_match": {
            kind: {name: round(share(run[kind][name]), 4) for name in ("train", "heldout")}
            for kind in ("good", "degraded")
        },
    }
    return planned, scores


def card() -> dict[str, Any]:
    """Return the whole card."""
    planned, scores = gate()
    weights = (MODEL / WEIGHTS).read_bytes()
    return {
        "name": "orbit-faq",
        "version": json.loads((HERE / "domain.json").read_text(encoding="utf-8"))["version"],
        "description": "Closed-domain questions about an imaginary service, and a tiny model trained on them.",
        "owner": "Tollgate maintainers",
        "licence": {"data": "CC0-1.0", "model": "CC0-1.0", "code": "Apache-2.0"},
        "language": "en",
        "personal_data": False,
        "made": "Synthetic: generate.py fills templates with a fixed seed. No person, text or model was a source.",
        "row": {
            "id": "unique and stable",
            "input": "the question",
            "reference": "the only right answer",
            "tags": "family, field; held-out rows end with what is new to the fact",
            "cluster": "the fact",
        },
        "splits": {"train": split("train"), "heldout": split("heldout")},
        "files": {name: sha256(HERE / name) for name in ("domain.json", *CODE, *STUDY)},
        "more": {
            "gate": planned,
            "model": {
                "folder": MODEL.name,
                **scores,
                "files": {p.name: sha256(p) for p in sorted(MODEL.iterdir())},
            },
            "degraded": {
                "command": f"degrade.py model DST --bits {DEFAULT_BITS}",
                "bits": DEFAULT_BITS,
                WEIGHTS: hashlib.sha256(degrade(weights, DEFAULT_BITS)).hexdigest(),
            },
        },
    }


def yaml(value: dict[str, Any], indent: int = 0) -> str:
    """Return nested mappings as YAML; a JSON scalar is a YAML scalar."""
    out = []
    for key, item in value.items():
        lead = f"{'  ' * indent}{key}:"
        if isinstance(item, dict):
            out.append(f"{lead}\n{yaml(item, indent + 1)}")
        else:
            out.append(f"{lead} {json.dumps(item)}\n")
    return "".join(out)


def main() -> int:
    """Write card.yaml, or check it."""
    parser = argparse.ArgumentParser(description="Write card.yaml of the Orbit FAQ.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if card.yaml differs")
    args = parser.parse_args()
    path, text = HERE / "card.yaml", yaml(card())
    if not args.check:
        path.write_text(text, encoding="utf-8", newline="\n")
    elif not path.is_file() or path.read_text(encoding="utf-8") != text:
        print("error: card.yaml is not what this program writes", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
