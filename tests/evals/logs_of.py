"""Run logs with the scores that a test wants, as a run through the gateway would have written them."""

from pathlib import Path

from evals import run_log
from evals.dataset import sample_digest, whole_digest
from evals.lines import Manifest, Record
from evals.schema import Answer, Sample, Score
from gateway.contracts import canonical


def write_log(path: Path, scores: list[float], *, release: str = "faq@2") -> str:
    """A sealed log of one metric, `exact`; returns the digest of its data set."""
    samples = [Sample(id=f"q{number:03}", input=f"number {number}") for number in range(len(scores))]
    digests = {sample.id: sample_digest(sample) for sample in samples}
    whole = whole_digest(digests)
    manifest = Manifest(
        suite="s",
        suite_digest=canonical.digest("suite"),
        dataset="d.jsonl",
        dataset_sha256=whole,
        samples=len(samples),
        epochs=1,
        model=release,
        params={},
        system=None,
        scorers=[{"name": "exact"}],
    )
    answer = Answer(text="x", release=release, release_digest=canonical.digest(release), latency_s=0.1)
    with run_log.Writer(path, manifest) as writer:
        for sample, score in zip(samples, scores, strict=True):
            writer.write(
                Record(
                    id=sample.id,
                    digest=digests[sample.id],
                    outcome="scored",
                    scores={"exact": Score(score)},
                    answer=answer,
                )
            )
        writer.seal()
    return whole


def write_gate(path: Path, dataset_sha256: str, *, at_least: float, gate: str = "g") -> None:
    """A gate of one floor for such a log."""
    path.write_text(
        f"gate: {gate}\nsuite: s\ndataset_sha256: '{dataset_sha256}'\n"
        f"metrics: [{{metric: exact, test: absolute, at_least: {at_least}}}]\n"
    )
