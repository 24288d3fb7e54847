"""Two real logs on disk and the gate between them, healthy until a case breaks one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from click.testing import Result

from evals import run_log

PASSED = 0
NONINFERIOR = {"metric": "exact", "test": "noninferior", "margin": 0.1, "planned_sd": 0.25}
ABSOLUTE = {"metric": "exact", "test": "absolute", "at_least": 0.8}
Scores = Mapping[str, Any]


def scores(count: int = 200, wrong: int = 0) -> dict[str, Any]:
    return {f"s{i:03}": 0.0 if i < wrong else 1.0 for i in range(count)}


class Pair:
    """A candidate's log, a baseline's, and the gate between them."""

    def __init__(self, folder: Path, make_log: Callable[..., Path], evals: Callable[..., Result]) -> None:
        self.folder, self._log, self._evals = folder, make_log, evals

    def logs(self, candidate: Scores, baseline: Scores | None = None, **changed: Any) -> None:
        """Both logs; `changed` concerns the candidate's."""
        self._log(self.folder / "b.jsonl", candidate, release="faq@2", **changed)
        shared = {key: value for key, value in changed.items() if key in ("clusters", "tags")}
        self._log(self.folder / "a.jsonl", candidate if baseline is None else baseline, release="faq@1", **shared)

    def gate(self, *metrics: Mapping[str, Any], **changed: Any) -> Result:
        """The gate file for the baseline's data set, and its decision."""
        manifest = run_log.read(self.folder / "a.jsonl").manifest
        gate = {"gate": "g", "suite": "faq", "dataset_sha256": manifest.dataset_sha256}
        gate |= {"metrics": [dict(metric) for metric in metrics or (NONINFERIOR, ABSOLUTE)], **changed}
        (self.folder / "gate.yaml").write_text(yaml.safe_dump(gate))
        return self.flags("gate.yaml")

    def flags(self, *flags: object) -> Result:
        """`evals gate` on both logs with these flags."""
        return self._evals("gate", "--candidate", "b.jsonl", "--baseline", "a.jsonl", *flags)

    def edited(self, change: Callable[[int, Any], Any], name: str = "b.jsonl", **manifest: Any) -> None:
        """A log with every record changed (None: dropped), its lines chained and sealed as a harness would."""
        path = self.folder / name
        log = run_log.read(path)
        path.unlink()
        with run_log.Writer(path, msgspec.structs.replace(log.manifest, prev="", **manifest)) as writer:
            for position, record in enumerate(log.records):
                if (changed := change(position, record)) is not None:
                    writer.write(changed)
            writer.seal()
