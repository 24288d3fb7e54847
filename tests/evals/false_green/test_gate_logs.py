"""False greens in what a log holds: too little, too much, nothing, or scores that are none.

Real logs on disk, and the command that reads them. The healthy pair passes the same gate.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import pytest

from evals import run_log
from evals.schema import Score
from tests.evals.false_green.pairs import ABSOLUTE, NONINFERIOR, PASSED, Pair, Scores, scores


def test_the_healthy_pair_passes(pair: Pair) -> None:
    pair.logs(scores())
    decided = pair.gate()
    assert decided.exit_code == PASSED, decided.output


class Case(NamedTuple):
    """What the candidate's log holds, what the gate asks, its exit code, and a word of the reason."""

    candidate: Scores
    code: int
    because: str
    metrics: tuple[Mapping[str, Any], ...] = (NONINFERIOR, ABSOLUTE)
    about: Mapping[str, Any] = {}


ONE_CLUSTER = {"clusters": dict.fromkeys(scores(), "one document")}
THIRDS = {key: 0.8 if i % 3 == 0 else "missing" for i, key in enumerate(scores())}
LOOSE = (ABSOLUTE | {"at_least": 0.01}, NONINFERIOR | {"margin": 0.9})
CASES = {
    "inspect-an-empty-set-has-accuracy-0": Case({}, 3, "data set is empty", LOOSE),
    "inspect-stderr-0-of-one-sample": Case(scores(1), 3, "power is 0.00", LOOSE),
    "inspect-stderr-0-of-one-sample-without-a-plan": Case(scores(1), 2, "1 clusters", LOOSE[:1]),
    "inspect-stderr-0-of-one-cluster": Case(scores(), 2, "1 clusters", LOOSE[:1], ONE_CLUSTER),
    "together-an-idle-rollout-without-a-sample": Case({}, 3, "data set is empty", LOOSE[:1]),
    "dotnet-skills#952-three-trials": Case(scores(3), 2, "3 clusters", LOOSE[:1]),
    "nemo-ten-pairs-are-evidence-enough": Case(scores(10), 3, "samples are needed", (NONINFERIOR | {"margin": 0.05},)),
    "mlflow#25013-a-tag-with-a-typo": Case(scores(), 3, "no sample has the tag", (ABSOLUTE | {"tag": "safty"},)),
    "mlflow-a-metric-that-nobody-computed": Case(scores(), 3, "no such metric", (ABSOLUTE | {"metric": "safety"},)),
    "ragas#2990-one-score-and-two-nan": Case(THIRDS, 3, "coverage is 33.50%", (ABSOLUTE | {"at_least": 0.7},)),
    "lightrag#4040-every-score-is-nan": Case(dict.fromkeys(scores(), "missing"), 3, "coverage is 0.00%"),
    "azure-a-point-above-the-threshold": Case(scores(60, 11), 2, "lies between", (ABSOLUTE,)),
    "metricthreshold-exactly-at-the-threshold": Case(scores(50, 10), 2, "lies between", (ABSOLUTE,)),
}


@pytest.mark.parametrize("name", CASES)
def test_too_little_never_passes(pair: Pair, name: str) -> None:
    case = CASES[name]
    pair.logs(case.candidate, **case.about)
    decided = pair.gate(*case.metrics)
    shown = " ".join(pair.flags("gate.yaml", "--json").stdout.split())
    assert (decided.exit_code, case.because in shown) == (case.code, True), decided.output


def test_vllm_34333_a_drop_within_the_noise_of_50_samples(pair: Pair) -> None:
    """One point estimate below the margin proves nothing: 1 of 50 lost is -0.02, and any drop to 0.09 looks like it."""
    pair.logs(scores(50, 1), scores(50))
    assert pair.flags("--margin", "0.08").exit_code == 2
    decided = pair.gate(NONINFERIOR | {"margin": 0.05, "planned_sd": 0.3})
    assert decided.exit_code == 3
    assert "samples are needed" in " ".join(decided.output.split())


def test_nanorag_58_a_slice_inverts_under_a_steady_mean(pair: Pair) -> None:
    tags = {key: ["ids"] if i < 20 else ["prose"] for i, key in enumerate(scores(400))}
    metrics = (NONINFERIOR, NONINFERIOR | {"tag": "ids", "margin": 0.5, "planned_sd": 0.25})
    pair.logs(scores(400), tags=tags)
    assert pair.gate(*metrics).exit_code == PASSED
    for log in ("a.jsonl", "b.jsonl"):
        (pair.folder / log).unlink()
    pair.logs(scores(400, 18), scores(400), tags=tags)
    assert pair.gate(NONINFERIOR).exit_code == PASSED  # the mean alone hides it
    assert pair.gate(*metrics).exit_code == 1


def test_ragas_experiment_dropped_rows_do_not_shrink_the_data_set(pair: Pair) -> None:
    pair.logs(scores(200, 40), scores())
    pair.edited(lambda position, record: None if position < 40 else record)
    decided = pair.gate()
    assert decided.exit_code == 3
    assert "some samples left no record" in " ".join(decided.output.split())


def test_ragas_experiment_the_order_of_completion_pairs_nothing(pair: Pair) -> None:
    """Both lose 60 samples, each others: paired by position, the two runs would be equal."""
    ours = {f"s{i:03}": 0.0 if i >= 140 else 1.0 for i in range(200)}
    pair.logs(ours, scores(200, 60))
    log = run_log.read(pair.folder / "b.jsonl")
    pair.edited(lambda position, record: log.records[-1 - position])
    decided = pair.gate(NONINFERIOR | {"margin": 0.08})
    assert decided.exit_code == 2, decided.output
    assert json.loads(pair.flags("gate.yaml", "--json").stdout)["flips"]["exact"]["regressed"][0] == "s140"


@pytest.mark.parametrize(
    ("value", "because"),
    [
        (1.5, "outside [0, 1]"),
        (-0.5, "outside [0, 1]"),
        (math.nan, "not a line of a run log"),
        (math.inf, "not a line"),
    ],
    ids=["inspect#4286-above-1", "inspect#4286-below-0", "ragas#2832-nan", "deepeval#3234-infinity"],
)
def test_a_score_that_is_none(pair: Pair, value: float, because: str) -> None:
    pair.logs(scores())
    pair.edited(lambda position, record: record if position else _scored(record, {"exact": Score(value)}))
    decided = pair.gate()
    assert (decided.exit_code, because in " ".join(decided.output.split())) == (3, True), decided.output


def test_mlflow_no_value_columns(pair: Pair) -> None:
    """Every sample is `scored`, and none has the score: nothing is known, and nothing passes."""
    pair.logs(scores())
    pair.edited(lambda position, record: _scored(record, {}))
    assert pair.gate(*LOOSE).exit_code in (2, 3)


def _scored(record: Any, found: dict[str, Score]) -> Any:
    return msgspec.structs.replace(record, scores=found)


def test_posthog_37165_fewer_trials_than_the_baseline_had(pair: Pair) -> None:
    pair.logs(scores(), {key: [value] * 3 for key, value in scores().items()}, suite_digest="sha256:" + "1" * 64)
    decided = pair.gate()
    assert decided.exit_code == 3
    assert "run both with the same suite" in " ".join(decided.output.split())


def test_a_run_is_not_compared_with_itself(pair: Pair, evals) -> None:
    pair.logs(scores(200, 90))
    decided = evals("gate", "--margin", 0.05, "--candidate", "b.jsonl", "--baseline", "b.jsonl")
    assert decided.exit_code == 3
    assert "always passes" in decided.output


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:" + "0" * 64], ids=["empty", "no digits", "another"])
def test_isnad_200_a_digest_that_is_none_or_another(pair: Pair, digest: str) -> None:
    pair.logs(scores())
    decided = pair.gate(dataset_sha256=digest)
    assert decided.exit_code == 3
    assert "dataset_sha256" in decided.output or "the gate is for" in decided.output


def test_securityskills_1377_what_was_evaluated_is_not_what_is_deployed(pair: Pair) -> None:
    pair.logs(scores())
    manifest = "schema: tollgate.release/v1\nname: faq@2\nmodel: {id: other-weights}\nengine: {name: vllm}\n"
    (pair.folder / "deployed.yaml").write_text(manifest)
    assert pair.gate().exit_code == PASSED
    decided = pair.flags("gate.yaml", "--release", "deployed.yaml")
    assert decided.exit_code == 3
    assert "was answered by faq@2" in " ".join(decided.output.split())


def test_winning_more_decisively_never_turns_a_pass(pair: Pair) -> None:
    """dotnet/skills#965: intervals of ordinal scores turned a larger win into a fail."""
    for better in (0, 5, 40, 100, 200):
        for log in pair.folder.glob("*.jsonl"):
            log.unlink()
        pair.logs(scores(), scores(200, better))
        assert pair.gate(NONINFERIOR).exit_code == PASSED
