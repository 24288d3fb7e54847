from dataclasses import replace

from evals.decision import Flips
from evals.report import cases
from evals.report.cases import LIMITS, Limits

ONES = {f"s{i:03}": 1.0 for i in range(30)}


def runs(make_evidence, candidate, baseline=ONES):
    return {"baseline": make_evidence(baseline, release="faq@1"), "candidate": make_evidence(candidate)}


def test_worse_in_anything_is_worse_and_a_sample_stands_once(make_evidence) -> None:
    flips = {"exact": Flips(("s000",), ("s001", "s002")), "exact[x]": Flips(("s000", "s002"), ())}
    worse, better = cases.changed(flips, runs(make_evidence, ONES | {"s000": 0.0}), None)
    assert ({one.id for one in worse.samples}, {one.id for one in better.samples}) == ({"s000", "s002"}, {"s001"})
    assert [moved.metric for moved in worse.samples[0].moved] == ["exact"]


def test_the_largest_changes_come_first(make_evidence) -> None:
    candidate = ONES | {"s000": 0.5, "s001": 0.0, "s002": 0.75}
    worse, _ = cases.changed({"exact": Flips(("s000", "s001", "s002"))}, runs(make_evidence, candidate), None)
    assert [one.id for one in worse.samples] == ["s001", "s000", "s002"]


def test_no_more_than_the_limit_is_shown_and_all_are_counted(make_evidence) -> None:
    found = runs(make_evidence, dict.fromkeys(ONES, 0.0))
    few = replace(LIMITS, most={"regressed": 5, "improved": 5, "lowest": 5})
    worse, better = cases.changed({"exact": Flips(tuple(ONES))}, found, None, few)
    assert (len(worse.samples), worse.total, worse.left_out, better.total) == (5, 30, 25, 0)
    shown = [one.id for one in worse.samples]
    assert shown != sorted(ONES)[:5], "among equal changes the shown ones are no corner of the data set"


def test_no_more_text_than_the_limit_is_shown(make_evidence, retold) -> None:
    found = {arm: retold(run, text="x" * 1_000) for arm, run in runs(make_evidence, dict.fromkeys(ONES, 0.0)).items()}
    worse, _ = cases.changed({"exact": Flips(tuple(ONES))}, found, None, Limits(LIMITS.most, characters=10_000))
    assert len(worse.samples) == 5
    assert worse.left_out == 25


def test_prompts_come_from_the_data_set(make_evidence, questions) -> None:
    worse, _ = cases.changed(
        {"exact": Flips(("s000",))}, runs(make_evidence, ONES | {"s000": 0.0}), questions(["s000"])
    )
    assert worse.samples[0].prompt[0].text == "question s000"


def test_a_single_run_shows_its_lowest_scores(make_evidence) -> None:
    run = make_evidence({"a": 1.0, "b": 0.5, "c": 0.0, "d": "missing", "e": "system"})
    (lowest,) = cases.lowest(["exact"], {"candidate": run}, None)
    assert ({one.id for one in lowest.samples[:3]}, lowest.samples[3].id, lowest.total) == ({"c", "d", "e"}, "b", 4)
