from datetime import timedelta
from pathlib import Path

import pytest

from evals import judge_card, judge_floor
from evals.gate import decide
from evals.gate_config import load_gate
from evals.judge_card import Figures
from gateway.contracts.errors import DocumentError
from gateway.contracts.verdict import Reference
from tests.evals.labels_bench import JUDGE, NOW, card, figure

FLOOR = {"metric": "quality", "card": "card.yaml", "min_tpr": 0.9, "min_tnr": 0.9, "min_kappa": 0.8}
SCORERS = [{"name": "exact", "as": "quality"}]
OTHER = "sha256:" + "9" * 64


@pytest.fixture
def ask(make_evidence, make_gate):
    """The decision on a good run of a judge's metric."""

    def decision(measured=None, *, floor=FLOOR, judges=None, scorers=SCORERS, **gate):
        values = {f"s{i:03}": 1.0 for i in range(100)}
        candidate = make_evidence(values, scorers=scorers, judges={"quality": JUDGE} if judges is None else judges)
        # The bench calls its only score `exact`; the gate tests the metric of the judge.
        config = make_gate(
            candidate,
            {"metric": "quality", "test": "absolute", "at_least": 0.6},
            **{"judges": (floor,) if floor else ()} | gate,
        )
        cards = {} if measured is None else {"quality": measured}
        return decide(config, candidate, None, now=NOW, harness="test 1", cards=cards)

    return decision


def refusals(decision) -> str:
    return "; ".join(decision.problems)


def test_a_judge_that_has_shown_enough_is_believed(ask) -> None:
    decision = ask(card())
    assert decision.problems == ()
    assert f"judge of 'quality': judge@3, card {card().digest()}, until 2027-02-10" in decision.notes


def test_the_verdict_names_the_card_and_does_not_outlive_it(ask) -> None:
    ends = NOW + timedelta(days=3)
    predicate = ask(card(expires=ends)).verdict.predicate
    assert predicate.judges == (Reference(name="quality", digest=card(expires=ends).digest()),)
    assert predicate.expires == ends
    assert ask(card(expires=NOW)).verdict.predicate.expires == NOW + timedelta(days=14)


STALE = {
    "expired": ({"expires": NOW}, "the card expired on 2026-11-22"),
    "old": ({"created": NOW - timedelta(days=91)}, "older than 90d"),
    "of tomorrow": ({"created": NOW + timedelta(days=1)}, "in the future"),
    "of another metric": ({"metric": "tone"}, "the card is of the metric 'tone'"),
}


@pytest.mark.parametrize("case", STALE)
def test_a_card_that_no_longer_counts(ask, case: str) -> None:
    changed, text = STALE[case]
    decision = ask(card(**changed))
    assert decision.answer == "invalid"
    assert text in refusals(decision)


WEAK = {
    "tpr": (Figures(tpr=figure(0.89), tnr=figure(0.9), kappa=figure(0.8)), "tpr is 0.950 with the lower bound 0.890"),
    "tnr": (Figures(tpr=figure(0.9), tnr=figure(0.89), kappa=figure(0.8)), "tnr is 0.950 with the lower bound 0.890"),
    "kappa": (Figures(tpr=figure(0.9), tnr=figure(0.9), kappa=figure(0.7)), "kappa is 0.950"),
    "nothing": (Figures(tpr=figure(0.9), kappa=figure(0.8)), "the card has no tnr"),
}


@pytest.mark.parametrize("case", WEAK)
def test_the_lower_bound_has_to_reach_the_floor(ask, case: str) -> None:
    figures, text = WEAK[case]
    decision = ask(card(figures=figures))
    assert decision.answer == "invalid"
    assert text in refusals(decision)


def test_a_judge_that_heeds_the_order_is_refused(ask) -> None:
    floor = FLOOR | {"max_flip_rate": 0.1}
    steady = card().figures.model_copy(update={"flip_rate": figure(0.0, 0.02, 0.09)})
    fickle = card().figures.model_copy(update={"flip_rate": figure(0.0, 0.02, 0.11)})
    assert ask(card(figures=steady), floor=floor).problems == ()
    assert "upper bound 0.110, and the gate allows 0.1" in refusals(ask(card(figures=fickle), floor=floor))
    assert "only a pairwise judge has one" in refusals(ask(card(), floor=floor))


def test_another_judge_than_the_one_that_was_measured(ask) -> None:
    decision = ask(card(), judges={"quality": OTHER})
    assert decision.answer == "invalid"
    assert f"the run was judged by {OTHER}, and the card is of {JUDGE}" in refusals(decision)


def test_a_run_that_does_not_say_who_judged(ask) -> None:
    assert "judged by an unnamed judge" in refusals(ask(card(), judges={}))


def test_another_card_than_the_one_that_was_pinned(ask) -> None:
    assert ask(card(), floor=FLOOR | {"card_digest": card().digest()}).problems == ()
    decision = ask(card(harness="edited"), floor=FLOOR | {"card_digest": card().digest()})
    assert f"the gate pins {card().digest()}" in refusals(decision)


def test_a_judge_that_nobody_measured_is_refused_unless_the_gate_says_otherwise(ask) -> None:
    decision = ask(floor=None)
    assert decision.answer == "invalid"
    assert "evals judge measure SUITE LABELS --metric quality" in refusals(decision)
    allowed = ask(floor=None, judges_unmeasured="allow")
    assert allowed.problems == ()
    assert any("judges_unmeasured: allow" in note for note in allowed.notes)


def test_a_judge_is_known_by_its_scorer_even_if_the_manifest_is_silent(ask) -> None:
    scorers = [{"name": "judge", "as": "quality", "rubric": "r"}]
    assert "the metric 'quality' is a judge's" in refusals(ask(floor=None, judges={}, scorers=scorers))
    assert ask(floor=None, judges={}).problems == ()


def test_a_floor_for_a_metric_that_the_gate_does_not_test(ask) -> None:
    assert "judges names 'tone'" in refusals(ask(card(), floor=FLOOR | {"metric": "tone"}))


def test_a_card_that_nobody_read(ask) -> None:
    assert "its card 'card.yaml' was not read" in refusals(ask())


GATE = """\
gate: release
suite: faq
dataset_sha256: sha256:{zeros}
metrics: [{{metric: quality, test: absolute, at_least: 0.8}}]
judges: [{{metric: quality, card: card.yaml, min_tpr: 0.9, min_tnr: 0.9, min_kappa: 0.8}}]
"""


def test_cards_lie_beside_the_gate(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(GATE.format(zeros="0" * 64))
    gate = load_gate(path)
    with pytest.raises(DocumentError, match="no such file"):
        judge_floor.load_cards(gate, tmp_path)
    judge_card.save(card(), tmp_path / "card.yaml")
    assert judge_floor.load_cards(gate, tmp_path) == {"quality": card()}


def test_the_gates_digest_heeds_floors_and_not_paths(tmp_path: Path) -> None:
    path, digests = tmp_path / "gate.yaml", []
    for old, new in (("", ""), ("card.yaml", "elsewhere.yaml"), ("min_tpr: 0.9", "min_tpr: 0.8"), ("judges:", "#")):
        path.write_text(GATE.format(zeros="0" * 64).replace(old, new))
        digests.append(load_gate(path).digest())
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_two_floors_for_one_judge_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    entry = "{metric: quality, card: c, min_tpr: 0.1, min_tnr: 0.1, min_kappa: 0}"
    path.write_text(GATE.format(zeros="0" * 64).split("judges:")[0] + f"judges: [{entry}, {entry}]\n")
    with pytest.raises(DocumentError, match="two entries are for the judge of 'quality'"):
        load_gate(path)
