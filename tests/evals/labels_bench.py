"""Label sets and cards for tests."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from evals import labels
from evals.judge_card import Card, Figure, Figures, JudgeOfCard, LabelsOfCard, Step

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
JUDGE = "sha256:" + "1" * 64
BINARY: dict[str | int | float, float] = {0: 0.0, 1: 1.0, "fail": 0.0, "pass": 1.0}


def line(id_: str, label: Any = 1, **more: Any) -> dict[str, Any]:
    """One labelled answer."""
    return {"id": id_, "input": f"question {id_}", "answer": f"answer {id_}", "label": label} | more


def label_file(path: Path, *lines: dict[str, Any]) -> Path:
    """A file of labels."""
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path


def label_set(path: Path, *lines: dict[str, Any], scale: Any = None) -> labels.LabelSet:
    """A set of labels."""
    return labels.load(label_file(path, *lines), BINARY if scale is None else scale)


def figure(lower: float, value: float = 0.95, upper: float = 0.99, samples: int = 60) -> Figure:
    """A figure with this lower bound."""
    return Figure(value=value, lower=lower, upper=upper, samples=samples)


def card(**changed: Any) -> Card:
    """A good card of the judge `JUDGE`."""
    values: dict[str, Any] = {
        "metric": "quality",
        "judge": JudgeOfCard(digest=JUDGE, scorer="judge", model="judge@3", votes=1, params={"temperature": 0.0}),
        "labels": LabelsOfCard(
            name="labels.jsonl",
            digest="sha256:" + "2" * 64,
            samples=120,
            clusters=120,
            failures=0,
            threshold=0.5,
            scale=tuple(Step(label=key, value=value) for key, value in BINARY.items()),
        ),
        "confidence": 0.95,
        "figures": Figures(tpr=figure(0.9), tnr=figure(0.9), kappa=figure(0.8)),
        "created": NOW - timedelta(days=10),
        "expires": NOW + timedelta(days=80),
    }
    return Card(**values | changed)
