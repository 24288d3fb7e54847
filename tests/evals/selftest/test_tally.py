import random

import pytest

from evals.decision import Decision
from evals.selftest.tally import THE_GATE, Row, Tally, noise, unlike
from gateway.contracts.verdict import MetricResult

NONINFERIOR = {"metric": "exact", "owner": "ml", "test": "noninferior", "margin": 0.1}


def row(passed: int, failed: int = 0, open_: int = 0, **limits: float) -> Row:
    made = Row("equal", "exact", "noninferior", **limits)
    for answer, count in (("pass", passed), ("fail", failed), ("inconclusive", open_)):
        for _ in range(count):
            made.add(answer, "why")
    return made


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (row(19, open_=181, most_pass=0.05), ""),
        (row(20, open_=180, most_pass=0.05), "false pass"),
        (row(180, failed=19, open_=1, most_fail=0.05), ""),
        (row(180, failed=20, most_fail=0.05), "false fail"),
        (row(144, open_=56, least_pass=0.8), ""),
        (row(143, open_=57, least_pass=0.8), "little power"),
        (row(0, open_=200), ""),
    ],
)
def test_a_rate_may_miss_its_limit_by_three_standard_errors(made: Row, expected: str) -> None:
    assert made.finding() == expected


def test_the_interval_of_a_rate_is_never_a_point() -> None:
    found = row(0, open_=200).interval("pass")
    assert found is not None
    assert found.lower == 0.0
    assert found.upper == pytest.approx(1 - 0.025 ** (1 / 200))
    assert Row("equal", "exact", "noninferior").interval("pass") is None


def result(verdict: str, test: str = "noninferior") -> MetricResult:
    about = {"margin": 0.1} if test == "noninferior" else {"at_least": 0.5}
    return MetricResult(
        metric="exact", test=test, verdict=verdict, reason="because", alpha=0.05, samples=9, clusters=9, **about
    )


def decision(answer: str, *results: MetricResult) -> Decision:
    return Decision("release", answer, "because", results)


def test_answers_are_counted_by_condition_and_of_the_whole(make_evidence, make_gate) -> None:
    gate = make_gate(make_evidence({"a": 1.0}), NONINFERIOR)
    tally = Tally(gate)
    for number in range(10):
        tally.add_equal(decision("fail" if number == 0 else "pass", result("pass"), result("fail", "absolute")))
    tally.add_regressed(gate.metrics[0], 0.1, decision("fail", result("inconclusive"), result("fail", "absolute")))
    whole, condition, floor, regressed = tally.rows()
    assert (whole.condition, whole.counts) == (THE_GATE, {"pass": 9, "fail": 1})
    assert (condition.least_pass, condition.most_fail, condition.counts) == (0.8, 0.05, {"pass": 10})
    assert (floor.least_pass, floor.most_fail, floor.finding()) == (None, None, "")
    assert (regressed.drop, regressed.most_pass, regressed.counts) == (0.1, 0.05, {"inconclusive": 1})
    assert regressed.reasons == {"because": 1}
    flips = tally.flips()
    assert flips["fail"] == pytest.approx(0.1)
    assert flips["contradict"] == flips["differ"] == pytest.approx(9 / 45)


def test_a_slice_owes_no_power_and_no_false_alarm(make_evidence, make_gate) -> None:
    tally = Tally(make_gate(make_evidence({"a": 1.0}), NONINFERIOR))
    part = result("inconclusive").model_copy(update={"metric": "exact[plans]"})
    tally.add_equal(decision("inconclusive", part))
    row = tally.rows()[1]
    assert (row.condition, row.least_pass, row.most_fail) == ("exact[plans]", None, 0.05)


def test_two_repetitions_are_unlike_as_often_as_two_balls_from_an_urn() -> None:
    counts = {"pass": 6, "fail": 3, "inconclusive": 1}
    balls = [answer for answer, count in counts.items() for _ in range(count)]
    rng = random.Random(1)
    seen = sum(set(rng.sample(balls, 2)) == {"pass", "fail"} for _ in range(20_000)) / 20_000
    assert unlike(counts, [("pass", "fail")]) == pytest.approx(18 / 45)
    assert seen == pytest.approx(18 / 45, abs=0.015)
    assert unlike({"pass": 1}, [("pass", "fail")]) == 0.0


@pytest.mark.parametrize(
    ("passed", "failed", "worse_passed", "expected"),
    [(90, 2, 3, 0), (40, 2, 3, 2), (90, 2, 60, 1), (40, 60, 3, 1)],
)
def test_the_exit_code_tells_wrong_from_weak(
    make_evidence, make_gate, passed: int, failed: int, worse_passed: int, expected: int
) -> None:
    gate = make_gate(make_evidence({"a": 1.0}), NONINFERIOR)
    tally = Tally(gate)
    for number in range(100):
        answer = "pass" if number < passed else "fail" if number < passed + failed else "inconclusive"
        tally.add_equal(decision(answer, result(answer)))
        worse = "pass" if number < worse_passed else "inconclusive"
        tally.add_regressed(gate.metrics[0], 0.1, decision(worse, result(worse)))
    assert tally.exit_code() == expected


def test_the_noise_of_equal_arms(make_evidence, make_gate) -> None:
    one = make_evidence({f"s{i}": float(i % 2) for i in range(100)})
    other = make_evidence({f"s{i}": float(i % 3 == 0) for i in range(100)}, release="faq@1")
    gate = make_gate(one, NONINFERIOR, {"metric": "exact", "test": "absolute", "at_least": 0.1})
    assert noise(gate, one, other)["exact"].sd == pytest.approx(0.7, abs=0.1)
    assert noise(gate, one, None) == {}
    assert noise(gate, one, one) == {}
