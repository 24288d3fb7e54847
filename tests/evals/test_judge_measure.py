from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from evals.judge_card import Card, JudgeOfCard
from evals.judge_config import JudgeConfig
from evals.judge_measure import FLIPS, Measuring, Scale, figures, judged_by, make_card, scale_of, scale_of_card
from evals.labels import LabelSet
from evals.lines import Record
from evals.runner import UNANIMOUS
from evals.schema import Answer, Score
from evals.scorers.judge import Judge, Pairwise
from gateway.contracts.errors import InputError
from tests.evals.judge_bench import Bench, Reply, Said, asked, verdict
from tests.evals.labels_bench import BINARY, JUDGE, NOW, card, label_set, line

SCALE = Scale(BINARY)


class _Log:
    def __init__(self, *existing: Record) -> None:
        self.existing, self.written = existing, list[Record]()

    def write(self, record: Record) -> None:
        self.written.append(record)


async def measured(reply: Reply, labels: LabelSet, scorer: Judge | Pairwise | None = None, *existing: Record):
    bench, log = Bench(reply, JudgeConfig(model="judge@3", max_retries=0)), _Log(*existing)
    async with bench.services() as services:
        measuring = Measuring("quality", scorer or Judge(rubric="r"), labels, services, log, 4)
        await measuring.execute()
    return log.written, bench


def labelled(path: Path, good: int, bad: int, **more: object) -> LabelSet:
    kinds = [(f"g{at}", 1) for at in range(good)] + [(f"b{at}", 0) for at in range(bad)]
    return label_set(path, *(line(key, label, **more) for key, label in kinds))


def says(wrong: set[str], failed: set[str] = frozenset()) -> Reply:  # type: ignore[assignment]
    """Right about answers g and wrong about b, but for those that are named."""

    def reply(body: dict) -> str:
        key = asked(body).partition("answer ")[2].split()[0]
        right = key.startswith("g") != (key in wrong)
        return "prose" if key in failed else verdict("pass" if right else "fail")

    return reply


async def test_every_labelled_answer_is_judged_once(tmp_path: Path) -> None:
    records, bench = await measured(says({"g0"}), labelled(tmp_path / "l", 5, 5))
    assert sorted(record.id for record in records) == sorted(
        [*(f"g{i}" for i in range(5)), *(f"b{i}" for i in range(5))]
    )
    assert {record.id: record.scores["quality"].value for record in records}["g0"] == 0.0
    assert bench.most <= 4


async def test_a_failure_is_a_record_of_missing_evidence(tmp_path: Path) -> None:
    records, _ = await measured(says(set(), {"g1"}), labelled(tmp_path / "l", 2, 1))
    (failed,) = (record for record in records if record.outcome == "harness_error")
    assert failed.failure is not None
    assert (failed.id, failed.failure.kind) == ("g1", "judge_failed")


async def test_a_stopped_measurement_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    done = Record(id="g0", digest="d", outcome="scored", scores={"quality": Score(1.0)})
    lost = Record(id="g1", digest="d", outcome="harness_error")
    records, _ = await measured(says(set()), labelled(tmp_path / "l", 3, 0), None, done, lost)
    assert sorted(record.id for record in records) == ["g1", "g2"]


async def test_a_judge_that_never_judges_ends_the_measurement(tmp_path: Path) -> None:
    asked_for: list[str] = []

    def prose(body: dict) -> str:
        asked_for.append(asked(body))
        return "prose"

    labels = labelled(tmp_path / "l", 30, 30)
    with pytest.raises(InputError, match=r"first 2\d answers got no verdict; the last: .* take --fresh"):
        await measured(prose, labels)
    assert len(asked_for) < UNANIMOUS + 4  # of four at a time
    done = Record(id="g0", digest="d", outcome="scored", scores={"quality": Score(1.0)})
    records, _ = await measured(prose, labels, None, done)
    assert len(records) == 59


async def test_the_record_names_the_release_that_judged(tmp_path: Path) -> None:
    headers = {"x-tollgate-release": "judge@3", "x-tollgate-digest": JUDGE}
    records, _ = await measured(lambda body: Said(verdict("pass"), headers=headers), labelled(tmp_path / "l", 2, 0))
    assert judged_by(records, tmp_path) == ((f"judge@3 {JUDGE}",), ())


def test_a_mixed_measurement_has_no_card(tmp_path: Path) -> None:
    def by(digest: str | None) -> Record:
        return Record(id="a", digest="d", outcome="scored", answer=Answer(release="judge", release_digest=digest))

    assert judged_by([by(None), by(None)], tmp_path) == ((), ())
    for other in ("sha256:2", None):
        with pytest.raises(InputError, match="several releases judged"):
            judged_by([by("sha256:1"), by(other)], tmp_path)


Figured = Callable[..., Card]


@pytest.fixture
def figured(tmp_path: Path) -> Figured:
    async def make(reply: Reply, labels: LabelSet, scorer: Judge | Pairwise | None = None) -> Card:
        records, _ = await measured(reply, labels, scorer)
        judge = JudgeOfCard(digest=JUDGE, scorer="judge", model="judge@3", votes=1, params={})
        return make_card(
            metric="quality",
            judge=judge,
            labels=labels,
            split=None,
            records=records,
            scale=scale_of(scorer or Judge(rubric="r")),
            now=NOW,
            lifetime=timedelta(days=90),
            harness="test",
        )

    return make


async def test_figures_of_a_judge_that_errs(figured: Figured, tmp_path: Path) -> None:
    made = (await figured(says({"g0", "g1", "b0"}), labelled(tmp_path / "l", 20, 10, tags=["t"]))).figures
    assert made.tpr is not None
    assert made.tnr is not None
    assert made.accuracy is not None
    assert made.kappa is not None
    assert (made.tpr.value, made.tpr.samples) == (0.9, 20)
    assert (made.tpr.lower, made.tpr.upper) == pytest.approx((0.683, 0.9877), abs=1e-4)
    assert (made.tnr.value, made.tnr.samples, made.accuracy.value) == (0.9, 10, 0.9)
    # Table [[9, 1], [2, 18]]: observed 0.9, by chance (10 11 + 20 19) / 900.
    assert made.kappa.value == pytest.approx((0.9 - 490 / 900) / (1 - 490 / 900), abs=1e-6)
    assert (made.flip_rate, made.self_consistency, made.human_alpha) == (None, None, None)


async def test_a_failure_counts_as_wrong_both_ways(figured: Figured, tmp_path: Path) -> None:
    labels = labelled(tmp_path / "l", 20, 20)
    clean = await figured(says(set()), labels)
    made = await figured(says(set(), {"g0", "b0"}), labels)
    for name in ("tpr", "tnr", "accuracy", "kappa", "alpha"):
        before, after = getattr(clean.figures, name), getattr(made.figures, name)
        assert after.value < before.value == 1.0
        assert after.lower < before.lower
        assert after.upper == 1.0
    assert (made.labels.failures, clean.labels.failures) == (2, 0)


async def test_a_judge_that_only_fails_has_shown_nothing(figured: Figured, tmp_path: Path) -> None:
    made = (await figured(lambda body: "prose", labelled(tmp_path / "l", 5, 5))).figures
    assert made.tpr is not None
    assert made.tnr is not None
    assert made.kappa is not None
    assert (made.tpr.value, made.tpr.lower, made.tnr.value, made.kappa.value) == (0.0, 0.0, 0.0, -1.0)


async def test_labels_of_one_kind_say_nothing_of_the_other(figured: Figured, tmp_path: Path) -> None:
    made = (await figured(says(set()), labelled(tmp_path / "l", 5, 0))).figures
    assert made.tpr is not None
    assert (made.tnr, made.kappa, made.alpha) == (None, None, None)


async def test_votes_that_differ_show_in_self_consistency(figured: Figured, tmp_path: Path) -> None:
    made = await figured(
        lambda body: verdict("fail" if body["seed"] == 0 else "pass"),
        labelled(tmp_path / "l", 4, 4),
        Judge(rubric="r", votes=3),
    )
    assert made.figures.self_consistency is not None
    assert made.figures.self_consistency.value == pytest.approx(1 / 3)
    assert made.figures.tpr is not None
    assert made.figures.tpr.value == 1.0  # two of three votes


async def test_a_judge_that_heeds_the_order_shows_it(figured: Figured, tmp_path: Path) -> None:
    labels = label_set(
        tmp_path / "l",
        *(line(f"g{at}", "win", reference="rival") for at in range(6)),
        *(line(f"b{at}", "loss", reference="rival") for at in range(6)),
        scale=Pairwise(rubric="r").label_values(),
    )

    def reply(body: dict) -> str:
        text = asked(body)
        first = text.index("answer ") < text.index("</first-answer")
        return verdict("first" if "answer b" in text or first else "second")

    made = (await figured(reply, labels, Pairwise(rubric="r"))).figures
    assert made.flip_rate is not None
    assert made.tpr is not None
    assert made.tnr is not None
    assert (made.flip_rate.value, made.tpr.value, made.tnr.value) == (0.5, 1.0, 0.0)
    assert made.flip_rate.lower < 0.5 < made.flip_rate.upper


async def test_slices_by_tag(figured: Figured, tmp_path: Path) -> None:
    labels = label_set(tmp_path / "l", line("g0", tags=["x"]), line("g1", tags=["x", "y"]), line("b0", 0, tags=["y"]))
    rows = {row.tag: row for row in (await figured(says({"g1"}), labels)).slices}
    assert {tag: row.samples for tag, row in rows.items()} == {"x": 2, "y": 2}
    assert rows["x"].tpr is not None
    assert (rows["x"].tpr.value, rows["x"].tnr) == (0.5, None)


def test_people_who_agree_more_than_the_judge_are_seen(tmp_path: Path) -> None:
    labels = label_set(
        tmp_path / "l", *(line(f"g{i}", None, labels=[1, 1]) for i in range(9)), line("b", 0, labels=[0, 0])
    )
    made, _ = figures([], labels, "quality", SCALE, alpha=0.025, seed=0)
    assert made.human_alpha is not None
    assert made.human_alpha.value == 1.0
    assert made.human_alpha.lower < 1.0


def test_the_same_seed_gives_the_same_figures(tmp_path: Path) -> None:
    labels = labelled(tmp_path / "l", 10, 10)
    records = [
        Record(id=f"g{i}", digest="d", outcome="scored", scores={"quality": Score(float(i % 3 > 0))}) for i in range(10)
    ]
    one, two, three = (figures(records, labels, "quality", SCALE, alpha=0.025, seed=seed) for seed in (1, 1, 2))
    assert one == two
    assert one != three


def test_verdicts_are_steps_of_the_scale() -> None:
    assert [SCALE.nearest(value) for value in (0.0, 0.5, 2 / 3, 1.0)] == [0.0, 0.0, 1.0, 1.0]
    grades = scale_of(Judge(rubric="r", scale=5))
    assert [grades.nearest(value) for value in (0.3, 0.375, 0.4)] == [0.25, 0.25, 0.5]
    assert grades.passes(0.5)
    assert grades.fails(0.25)
    pair = scale_of(Pairwise(rubric="r"))
    assert (pair.pairwise, pair.passes(0.5), pair.fails(0.5)) == (True, False, False)
    assert not grades.pairwise
    assert scale_of_card(card()) == SCALE
    assert FLIPS != "quality"
