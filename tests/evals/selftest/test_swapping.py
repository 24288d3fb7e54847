import random

import msgspec
import pytest

from evals.dataset import Dataset
from evals.evidence import Evidence
from evals.gate_config import MetricConfig
from evals.schema import Answer, Sample, Score, Unjudged
from evals.scorers.base import NoServices, Scorer
from evals.scorers.text import Exact
from evals.selftest import swapping
from gateway.contracts.errors import InputError
from tests.evals.bench import dataset

METRIC = MetricConfig(metric="exact", test="noninferior", margin=0.1)


class Picky(Scorer):
    """Judges no answer to the first sample."""

    async def score(self, sample: Sample, answer: Answer, services: object) -> Score:
        if sample.id == "s0":
            raise Unjudged("judge_failed", "no verdict")
        return Score(float(answer.text == sample.reference))


@pytest.fixture
def data() -> Dataset:
    return dataset(20)


@pytest.fixture
def right(make_evidence, data: Dataset) -> Evidence:
    """Every sample answered right."""
    run = make_evidence({sample.id: 1.0 for sample in data.samples})
    units = {}
    for sample in data.samples:
        unit = run.units[sample.id]
        (record,) = unit.records
        answer = msgspec.structs.replace(record.answer, text=sample.reference)
        units[sample.id] = msgspec_unit(unit, msgspec.structs.replace(record, answer=answer))
    return Evidence(run.log, units, run.problems, run.release, run.release_digest, run.fingerprints)


def msgspec_unit(unit, record):
    return type(unit)(unit.id, unit.cluster, unit.tags, (record,), unit.epochs)


def swapped(data: Dataset, scorer: Scorer | None = None) -> swapping.Swapped:
    return swapping.Swapped(data, {"exact": scorer or Exact()}, NoServices(), random.Random(1))


async def test_every_answer_is_somebody_elses_and_judged_as_what_it_is(right: Evidence, data: Dataset) -> None:
    other = await swapped(data).replacements(right, swapping.drawn(right, random.Random(2)), 1.0)
    assert other.keys() == right.units.keys()
    texts = {sample.reference for sample in data.samples}
    for key, unit in other.items():
        (record,) = unit.records
        assert record.answer is not None
        assert record.answer.text in texts
        assert record.answer.text != right.units[key].records[0].answer.text  # type: ignore[union-attr]
        assert (record.id, record.scores["exact"].value, record.outcome) == (key, 0.0, "scored")


async def test_an_answer_that_cannot_be_judged_is_missing_evidence(right: Evidence, data: Dataset) -> None:
    other = await swapped(data, Picky()).replacements(right, swapping.drawn(right, random.Random(2)), 1.0)
    assert (other["s0"].missing, other["s1"].missing) == (True, False)
    assert other["s0"].records[0].failure.kind == "judge_failed"  # type: ignore[union-attr]


async def test_a_larger_share_takes_those_of_a_smaller_one_too(right: Evidence, data: Dataset) -> None:
    draws = swapping.drawn(right, random.Random(2))
    few = await swapped(data).replacements(right, draws, 0.3)
    many = await swapped(data).replacements(right, draws, 0.6)
    assert 0 < len(few) < len(many) < 20
    assert few.keys() < many.keys()


async def test_the_share_makes_the_drop(right: Evidence, data: Dataset) -> None:
    rng, found = random.Random(3), []
    other = await swapped(data).replacements(right, swapping.drawn(right, rng), 1.0)
    share = swapping.share_of(right, other, METRIC, 0.1)
    assert share == pytest.approx(0.1), "a right answer is always worth 1 here, and a swapped one 0"
    for _ in range(400):
        worse = swapping.planted(right, other, METRIC, swapping.drawn(right, rng), share)
        found.append(sum(unit.score("exact", "candidate")[0] for unit in worse.units.values()) / 20)
    assert 1 - sum(found) / 400 == pytest.approx(0.1, abs=0.011)


async def test_answers_that_are_no_worse_make_no_regression(right: Evidence, data: Dataset) -> None:
    assert swapping.share_of(right, right.units, METRIC, 0.1) is None
    assert swapping.share_of(right, {}, METRIC, 0.1) is None
    other = await swapped(data).replacements(right, swapping.drawn(right, random.Random(2)), 1.0)
    assert swapping.share_of(right, other, METRIC, 1.0) == pytest.approx(1.0)
    assert swapping.share_of(right, other, METRIC, 1.01) is None


async def test_another_models_answers_stand_in(right: Evidence, make_evidence) -> None:
    broken = make_evidence({key: float(key == "s3") for key in right.units}, release="faq@3")
    draws = swapping.drawn(right, random.Random(2))
    other = await swapping.Broken(broken).replacements(right, draws, 1.0)
    assert other["s5"] is broken.units["s5"]
    assert swapping.share_of(right, other, METRIC, 0.19) == pytest.approx(0.2)
    assert len(await swapping.Broken(broken).replacements(right, draws, 0.0)) == 0


async def test_without_a_second_cluster_nothing_can_be_swapped(data: Dataset, make_evidence) -> None:
    run = make_evidence({f"s{i}": 1.0 for i in range(20)}, clusters={f"s{i}": "one" for i in range(20)})
    with pytest.raises(InputError, match="no two clusters were answered"):
        await swapped(data).replacements(run, swapping.drawn(run, random.Random(1)), 1.0)


def test_a_regression_stays_within_its_tag(make_evidence) -> None:
    tags = {"a": ["plans"]}
    run = make_evidence({"a": 1.0, "b": 1.0}, tags=tags)
    other = make_evidence({"a": 0.0, "b": 0.0}, tags=tags).units
    metric = METRIC.model_copy(update={"tag": "plans"})
    worse = swapping.planted(run, other, metric, {"a": 0.0, "b": 0.0}, 1.0)
    assert {key: unit.score("exact", "candidate")[0] for key, unit in worse.units.items()} == {"a": 0.0, "b": 1.0}
    assert swapping.share_of(run, other, metric, 0.5) == 0.5
