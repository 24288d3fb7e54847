from decimal import Decimal

from evals.report import failures


def test_failures_stand_by_kind_the_most_frequent_first(make_evidence) -> None:
    run = make_evidence({"a": "missing", "b": "system", "c": "missing", "d": 1.0})
    timeout, server = failures.failures({"candidate": run})
    assert (timeout.kind, timeout.count, timeout.counts_as, timeout.ids) == (
        "timeout",
        2,
        "missing evidence",
        ("a", "c"),
    )
    assert (server.kind, server.count, server.counts_as, server.example) == ("server_error", 1, "a score of 0", "502")
    assert "after every retry" in server.meaning


def test_results_without_a_record_are_counted(make_evidence) -> None:
    run = make_evidence({"a": 1.0}, samples=4, sealed=False)
    (lacking,) = failures.failures({"candidate": run})
    assert (lacking.kind, lacking.count, lacking.counts_as) == (failures.NO_RECORD, 3, "missing evidence")


def test_only_the_first_ids_are_named(make_evidence) -> None:
    (found,) = failures.failures({"candidate": make_evidence({f"s{i:02}": "missing" for i in range(30)})})
    assert (found.count, len(found.ids)) == (30, failures.MOST_IDS)


def test_a_bill_adds_up_and_unknown_costs_are_no_zero(make_evidence, retold) -> None:
    (bill,) = failures.bills({"candidate": make_evidence({"a": 1.0, "b": 1.0})})
    assert (bill.cost, bill.input_tokens, bill.finish_reasons) == (Decimal("0.002"), 20, {"stop": 2})
    (bill,) = failures.bills({"candidate": retold(make_evidence({"a": 1.0}), cost=None, finish_reason=None)})
    assert (bill.cost, bill.uncosted, bill.finish_reasons) == (None, 1, {"not told": 1})
