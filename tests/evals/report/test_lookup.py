import pytest

from evals.report import lookup
from gateway.contracts.errors import InputError


def test_every_epoch_and_arm_is_there(make_evidence) -> None:
    runs = {"baseline": make_evidence({"a": [1.0] * 4}, release="faq@1"), "candidate": make_evidence({"a": [0.0] * 4})}
    view = lookup.one("a", runs, None)
    assert [len(pair) for pair in view.pairs] == [2, 2, 2, 2]


def test_an_unknown_sample_is_refused_with_the_nearest_ids(make_evidence) -> None:
    run = make_evidence({"ticket-1.free": 1.0, "ticket-2.free": 1.0, "other": 1.0})
    with pytest.raises(InputError, match=r"nearest ids are 'ticket-1\.free'"):
        lookup.one("ticket-1", {"candidate": run}, None)
    with pytest.raises(InputError, match="it has 3 others"):
        lookup.one("????", {"candidate": run}, None)


def test_ids_that_hold_what_is_wanted_come_first() -> None:
    assert lookup.nearest("PLAN.b", ["plan.a", "x.plan.b.y", "plan.c"])[0] == "x.plan.b.y"
