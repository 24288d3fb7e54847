from evals.report.view import Cases, Condition


def test_cases_know_how_many_are_not_shown() -> None:
    assert Cases("regressed", (), 7).left_out == 7


def test_a_paired_condition_is_one_that_compares_with_a_baseline() -> None:
    common = dict.fromkeys(("estimate", "lower", "upper", "line", "baseline", "candidate", "power", "verdict"))
    texts = dict.fromkeys(("reason", "owner", "tier", "asked"), "")
    made = [
        Condition(label="x", test=test, lower_is_better=False, samples=1, clusters=1, missing=(0, 0), **common, **texts)
        for test in ("noninferior", "absolute", "ratio", None)
    ]
    assert [row.paired for row in made] == [True, False, False, False]
