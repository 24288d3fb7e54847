import random
from collections.abc import Callable
from pathlib import Path

import pytest

from evals.evidence import Evidence
from evals.judge_card import Card, Figures
from evals.judge_correct import Line, arm, check, differences, estimates
from gateway.contracts.errors import InputError
from tests.evals.labels_bench import JUDGE, card, figure, label_set, line

MEASURED = card(
    figures=Figures(tpr=figure(0.8, 0.9, 0.95, 50), tnr=figure(0.6, 0.75, 0.9, 40), kappa=figure(0.5)), metric="exact"
)


@pytest.fixture
def run(make_evidence) -> Callable[..., Evidence]:
    def make(scores: dict[str, object], release: str = "faq@2", **changed: object) -> Evidence:
        return make_evidence(scores, release=release, judges={"exact": JUDGE}, **changed)

    return make


def by_name(lines: list[Line]) -> dict[str, Line]:
    return {one.name: one for one in lines}


def half(count: int, share: float) -> dict[str, object]:
    return {f"s{at:03}": float(at < count * share) for at in range(count)}


def test_the_raw_mean_stands_beside_the_corrected_one(run) -> None:
    found = by_name(estimates(MEASURED, arm(run(half(200, 0.64)), None), "exact", alpha=0.05))
    assert found["raw"].value == pytest.approx(0.64)
    # (0.64 + 0.75 - 1) / (0.9 + 0.75 - 1)
    assert found["Rogan-Gladen"].value == pytest.approx(0.6)
    assert list(found) == ["raw", "Rogan-Gladen"]
    raw, corrected = found["raw"], found["Rogan-Gladen"]
    assert corrected.upper - corrected.lower > raw.upper - raw.lower  # type: ignore[operator]


def test_a_missing_verdict_never_raises_an_estimate(run) -> None:
    whole = by_name(estimates(MEASURED, arm(run(half(200, 0.64)), None), "exact", alpha=0.05))
    lacking = run({**half(200, 0.64), "s000": "missing"})
    found = by_name(estimates(MEASURED, arm(lacking, None), "exact", alpha=0.05))
    for name in ("raw", "Rogan-Gladen"):
        assert found[name].value < whole[name].value  # type: ignore[operator]


def test_epochs_count_each(run) -> None:
    twice = run({f"s{at}": [1.0, float(at < 28)] for at in range(100)})
    assert by_name(estimates(MEASURED, arm(twice, None), "exact", alpha=0.05))["Rogan-Gladen"].value == pytest.approx(
        0.6
    )


def test_labels_on_the_runs_answers_correct_without_the_card(run, tmp_path: Path) -> None:
    rng, labels = random.Random(2), []
    values = half(400, 0.8)
    for key in rng.sample(sorted(values), 100):
        # Of what the judge passed, people pass three in four.
        labels.append({"id": key, "input": "q", "answer": "x", "label": int(bool(values[key]) and rng.random() < 0.75)})
    found = by_name(estimates(MEASURED, arm(run(values), label_set(tmp_path / "l", *labels)), "exact", alpha=0.05))
    ppi = found["PPI++"]
    assert ppi.lower < 0.6 < ppi.upper < 0.8  # type: ignore[operator]


def test_a_correction_that_cannot_be_made_says_why(run) -> None:
    guesser = card(figures=Figures(tpr=figure(0.4, 0.5), tnr=figure(0.4, 0.5)), metric="exact")
    one_kind = card(figures=Figures(tpr=figure(0.4, 0.5)), metric="exact")
    for measured, text in ((guesser, "no better than guessing"), (one_kind, "labels are of one kind")):
        line_ = by_name(estimates(measured, arm(run(half(50, 0.5)), None), "exact", alpha=0.05))["Rogan-Gladen"]
        assert (line_.value, text in line_.note) == (None, True)


def test_one_label_is_too_few(run, tmp_path: Path) -> None:
    labels = label_set(tmp_path / "l", line("s000", answer="x"))
    found = by_name(estimates(MEASURED, arm(run(half(50, 0.5)), labels), "exact", alpha=0.05))["PPI++"]
    assert "at least two labelled samples" in found.note


def test_a_difference_needs_labels_of_both(run, tmp_path: Path) -> None:
    ours, theirs = run(half(300, 0.9)), run(half(300, 0.5), release="faq@1")
    # People see no difference: the judge is lenient with the candidate.
    known = [line(f"s{at:03}", int(at < 150), answer="x") for at in range(0, 300, 3)]
    labels = label_set(tmp_path / "l", *known)
    found = by_name(differences(arm(ours, labels), arm(theirs, labels), "exact", alpha=0.05))
    assert found["raw difference"].value == pytest.approx(0.4)
    assert found["PPI++ difference"].lower < 0 < found["PPI++ difference"].upper  # type: ignore[operator]
    without = by_name(differences(arm(ours, labels), arm(theirs, None), "exact", alpha=0.05))
    assert "at least two" in without["PPI++ difference"].note


def test_labels_of_another_run_are_refused(run, tmp_path: Path) -> None:
    ours = run(half(10, 0.5))
    with pytest.raises(InputError, match="has no sample 'zzz'"):
        arm(ours, label_set(tmp_path / "l", line("zzz")))
    with pytest.raises(InputError, match="has no such answer to sample 's000'"):
        arm(ours, label_set(tmp_path / "l", line("s000", answer="another answer")))


@pytest.mark.parametrize("measured", [card(metric="exact"), MEASURED])
def test_the_card_has_to_be_of_this_judge(make_evidence, measured: Card) -> None:
    check(measured, make_evidence(half(3, 1), judges={"exact": JUDGE}), "exact")
    for judges in ({}, {"exact": "sha256:" + "9" * 64}):
        with pytest.raises(InputError, match="error rates of another judge correct nothing"):
            check(measured, make_evidence(half(3, 1), judges=judges), "exact")
    with pytest.raises(InputError, match="has no metric 'tone'; it has exact"):
        check(measured, make_evidence(half(3, 1)), "tone")
