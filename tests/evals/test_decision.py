from evals.decision import Decision, Flips


def test_a_decision_without_a_verdict_is_about_no_release() -> None:
    decision = Decision(gate="g", answer="invalid", reason="nothing was run", metrics=())
    assert (decision.release, decision.verdict, decision.slices, decision.flips) == (None, None, (), {})
    assert Flips() == Flips((), ())
