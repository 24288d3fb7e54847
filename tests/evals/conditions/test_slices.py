import random

import pytest

EXACT = {"metric": "exact", "owner": "ml", "test": "noninferior", "margin": 0.2}
SLICES = {"tags": ["lang:*"], "metrics": ["exact"], "margin": 0.2, "n_min": 40, "owner": "regions"}


def run(count: int = 200, kinds: int = 2, wrong: dict[str, int] | None = None):
    """Scores and tags: `count` samples over `kinds` languages; `wrong` says how many of each are wrong."""
    tags = {f"s{i:03}": [f"lang:{i % kinds}", "all"] for i in range(count)}
    left, values = dict(wrong or {}), {}
    for key, (tag, _) in tags.items():
        values[key] = 0.0 if left.get(tag, 0) > 0 else 1.0
        left[tag] = left.get(tag, 0) - 1
    return values, tags


@pytest.fixture
def judged(make_evidence, make_gate, ask):
    def judge(ours, theirs=None, tags=None, exact=EXACT, named=("lang:*",), **slices):
        candidate = make_evidence(ours, tags=tags)
        baseline = make_evidence(theirs or dict.fromkeys(ours, 1.0), tags=tags, release="faq@1")
        return ask(make_gate(candidate, exact, slices=SLICES | slices | {"tags": named}), candidate, baseline)

    return judge


def test_every_slice_is_a_condition_of_its_own(judged) -> None:
    values, tags = run()
    decision = judged(values, tags=tags)
    assert decision.answer == "pass"
    assert [(m.metric, m.test, m.samples, m.owner) for m in decision.metrics[1:]] == [
        ("exact[lang:0]", "noninferior", 100, "regions"),
        ("exact[lang:1]", "noninferior", 100, "regions"),
    ]


def test_a_slice_that_inverts_fails_though_the_mean_holds(judged) -> None:
    values, tags = run(wrong={"lang:1": 30})
    decision = judged(values, tags=tags, exact=EXACT | {"margin": 0.3})
    assert [m.verdict for m in decision.metrics] == ["pass", "pass", "fail"]
    assert decision.answer == "fail"
    assert "exact[lang:1]" in decision.reason
    assert "Holm over 2 slices" in decision.reason


@pytest.mark.parametrize(
    ("entry", "text"),
    [("lang:fr", "no sample has the tag 'lang:fr'"), ("long:*", "no sample has a tag that begins with 'long:'")],
)
def test_a_slip_of_the_pen_is_invalid_and_never_a_pass(judged, entry: str, text: str) -> None:
    values, tags = run()
    decision = judged(values, tags=tags, named=["all", entry])
    assert (decision.answer, text in decision.reason) == ("invalid", True)


def test_a_slice_that_is_too_small_blocks_or_is_told(judged) -> None:
    values, tags = run(60, 2)
    decision = judged(values, tags=tags)
    assert decision.answer == "inconclusive"
    assert "30 samples, the condition asks for 40" in decision.reason
    assert decision.metrics[1].lower is not None
    decision = judged(values, tags=tags, **{"else": "note"})
    assert (decision.answer, len(decision.metrics)) == ("pass", 1)
    assert [note for note in decision.notes if note.startswith("slice exact[lang:0] was not tested: 30 samples")]


def test_a_slice_without_power_is_too_small(judged) -> None:
    values, tags = run()
    decision = judged(values, tags=tags, planned_sd=0.9)
    assert decision.answer == "inconclusive"
    assert "planned power is 0." in decision.reason
    assert decision.metrics[1].planned_power is not None
    planned = judged(values, tags=tags, exact=EXACT | {"planned_sd": 0.3})
    assert (planned.answer, planned.metrics[1].planned_power > 0.8) == ("pass", True)


def test_a_metric_that_the_run_does_not_have_is_invalid_on_every_slice(judged) -> None:
    values, tags = run()
    decision = judged(values, tags=tags, metrics=["f1"])
    assert (decision.answer, "no such metric" in decision.reason) == ("invalid", True)


def test_one_slice_of_many_that_looks_worse_by_chance_accuses_nobody(judged) -> None:
    values, tags = run(800, 20, wrong={"lang:3": 6})
    alone = judged(values, tags=tags, named=["lang:3"], margin=0.02)
    among = judged(values, tags=tags, margin=0.02)
    assert alone.metrics[1].verdict == "fail"
    by_label = {m.metric: m for m in among.metrics}
    assert by_label["exact[lang:3]"].verdict == "inconclusive"
    assert "not proven among so many (Holm over 20 slices" in by_label["exact[lang:3]"].reason


def test_a_release_that_is_no_worse_is_seldom_accused(judged, make_evidence, make_gate, ask) -> None:
    rng, accused, plain = random.Random(5), 0, 0
    for _ in range(12):
        _, tags = run(600, 12)
        ours, theirs = ({key: float(rng.random() < 0.8) for key in tags} for _ in range(2))
        decision = judged(ours, theirs, tags, exact=EXACT | {"margin": 0.9}, margin=0.01)
        accused += any(m.verdict == "fail" for m in decision.metrics[1:])
        plain += any(m.upper < 0 for m in decision.metrics[1:])
    assert accused <= 2
    assert plain > accused
