"""A verdict speaks about exactly one digest, for a time, and passes only with every metric passing."""

import copy
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.contracts import verdict
from gateway.contracts.errors import InputError, VerdictError
from gateway.contracts.verdict import ADMITTED, MetricResult, Predicate, Verdict, from_statement

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ANSWERS = ["pass", "fail", "inconclusive", "invalid", "waived"]


def _metric(answer: str = "pass", **more: Any) -> dict[str, Any]:
    fixed = {"metric": "exact", "test": "absolute", "reason": "r", "alpha": 0.05, "samples": 40, "clusters": 40}
    return {**fixed, "verdict": answer, "estimate": 0.9, "lower": 0.85, "at_least": 0.8, **more}


def _waiver(**more: Any) -> dict[str, Any]:
    return {"metric": "exact", "owner": "ml", "reason": "known", "expires": NOW + timedelta(days=30), **more}


def _predicate(answer: str = "pass", **more: Any) -> dict[str, Any]:
    if answer == "waived":
        more = {"metrics": [_metric("waived")], "waivers": [_waiver()], **more}
    things = ("gate", "suite", "dataset", "candidate_run")
    return {
        "verdict": answer,
        "reason": "every metric holds",
        "created": NOW,
        "expires": NOW + timedelta(days=30),
        "metrics": [_metric()],
        "harness": "evals 0.1",
        **{name: {"name": name, "digest": A} for name in things},
        **more,
    }


def _verdict(answer: str = "pass", **more: Any) -> Verdict:
    return Verdict(release="faq@2", release_digest=A, predicate=Predicate.model_validate(_predicate(answer, **more)))


def test_a_statement_is_read_back_as_the_same_verdict() -> None:
    one = _verdict()
    assert from_statement(one.statement()) == one
    assert one.statement()["_type"] == "https://in-toto.io/Statement/v1"
    assert one.statement()["predicateType"] == "urn:tollgate:verdict:v1"
    assert one.statement()["subject"] == [{"name": "faq@2", "digest": {"sha256": "a" * 64}}]


def test_a_digest_never_changes() -> None:
    assert _verdict().digest() == "sha256:8aae6304e69b92a9f142121a30a47a0831efa22dacdf553c49c792f56cd2f51d"


@pytest.mark.parametrize(
    "more",
    [
        {"reason": "other"},
        {"created": NOW - timedelta(seconds=1)},
        {"expires": NOW + timedelta(days=31)},
        {"gate": {"name": "gate", "digest": B}},
        {"suite": {"name": "suite", "digest": B}},
        {"dataset": {"name": "dataset", "digest": B}},
        {"candidate_run": {"name": "candidate_run", "digest": B}},
        {"baseline": {"name": "faq@1", "digest": B}},
        {"baseline_run": {"name": "run", "digest": B}},
        {"metrics": [_metric(), _metric()]},
        {"engine_fingerprints": ["f"]},
        {"harness": "evals 0.2"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_any_changed_field_changes_the_digest(more: dict[str, Any]) -> None:
    assert _verdict(**more).digest() != _verdict().digest()


def test_release_and_answer_are_part_of_the_digest() -> None:
    one = _verdict()
    others = [
        one.model_copy(update={"release": "faq@3"}),
        one.model_copy(update={"release_digest": B}),
        _verdict("fail"),
    ]
    assert len({one.digest(), *(other.digest() for other in others)}) == 4


TIERS = ["critical", "supporting", "advisory"]


def test_a_pass_needs_a_metric() -> None:
    with pytest.raises(ValidationError, match="at least one critical metric"):
        _verdict("pass", metrics=[])


@pytest.mark.parametrize("answer", ANSWERS[1:])
def test_a_pass_needs_every_critical_metric_to_pass(answer: str) -> None:
    with pytest.raises(ValidationError, match=r"each of them to pass|a verdict is waived when"):
        _verdict("pass", metrics=[_metric(), _metric(answer)])
    assert _verdict("fail", metrics=[_metric(), _metric(answer)]).predicate.verdict == "fail"


def _holds(metrics: list[tuple[str, str]]) -> bool:
    critical = [answer for answer, tier in metrics if tier == "critical"]
    return (
        bool(critical)
        and set(critical) <= {"pass", "waived"}
        and ("fail", "supporting") not in metrics
        and "invalid" not in [answer for answer, _ in metrics]
    )


@given(metrics=st.lists(st.tuples(st.sampled_from(ANSWERS), st.sampled_from(TIERS)), max_size=5), said=st.booleans())
def test_only_metrics_that_hold_make_a_verdict_that_admits(metrics: list[tuple[str, str]], said: bool) -> None:
    waived = "waived" in [answer for answer, _ in metrics]
    answer, waivers = ("waived", [_waiver()]) if said else ("pass", [])
    made = [_metric(one, tier=tier) for one, tier in metrics]
    try:
        _verdict(answer, metrics=made, waivers=waivers)
    except ValidationError:
        assert not _holds(metrics) or waived != said
    else:
        assert _holds(metrics)
        assert waived == said


@pytest.mark.parametrize(
    ("waivers", "expected"),
    [
        ([], "carries the waiver"),
        ([_waiver(metric="f1")], "no waiver is about it"),
        ([_waiver(test="noninferior")], "no waiver is about it"),
        ([_waiver(expires=NOW + timedelta(days=29))], "outlives its waiver"),
        ([_waiver(expires=(NOW + timedelta(days=30)).replace(tzinfo=None))], "time zone"),
        ([_waiver(owner=None)], "owner"),
    ],
)
def test_a_waived_verdict_needs_its_waiver(waivers: list[dict[str, Any]], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        _verdict("waived", waivers=waivers)
    assert _verdict("waived", waivers=[_waiver(test="absolute")]).refusal(A, NOW) is None


def test_a_waived_verdict_expires() -> None:
    assert "expired" in (_verdict("waived").refusal(A, NOW + timedelta(days=30)) or "")


def test_a_pass_carries_no_waiver() -> None:
    with pytest.raises(ValidationError, match="a verdict is waived when"):
        _verdict("pass", waivers=[_waiver()])


@pytest.mark.parametrize("answer", [*ANSWERS, "ok", "", None])
def test_only_a_pass_and_a_waiver_admit(answer: Any) -> None:
    if answer not in ANSWERS:
        with pytest.raises(ValidationError):
            _verdict(answer)
        return
    refusal = _verdict(answer).refusal(A, NOW)
    assert (refusal is None) == (answer in {"pass", "waived"}) == (answer in ADMITTED)
    if refusal is not None:
        assert repr(answer) in refusal


def test_a_verdict_about_another_release_is_no_verdict() -> None:
    assert f"is about {A}, not {B}" in (_verdict().refusal(B, NOW) or "")


@pytest.mark.parametrize(
    ("now", "admitted"),
    [
        (NOW, True),
        (NOW + timedelta(days=30) - timedelta(microseconds=1), True),
        (NOW + timedelta(days=30), False),
        (NOW + timedelta(days=31), False),
        ((NOW + timedelta(days=30)).astimezone(timezone(timedelta(hours=9))), False),
        ((NOW + timedelta(days=29, hours=20)).astimezone(timezone(timedelta(hours=9))), True),
    ],
)
def test_a_verdict_ends_at_its_moment_in_any_time_zone(now: datetime, admitted: bool) -> None:
    refusal = _verdict().refusal(A, now)
    assert (refusal is None) == admitted
    if refusal is not None:
        assert "expired" in refusal


def test_moments_need_an_offset_and_an_order() -> None:
    naive = datetime(2026, 11, 22, 12)  # noqa: DTZ001 - the missing offset is the test
    with pytest.raises(ValidationError, match="time zone offset"):
        _verdict(created=naive)
    with pytest.raises(ValidationError, match="time zone offset"):
        _verdict(expires=naive + timedelta(days=1))
    for expires in (NOW, NOW - timedelta(seconds=1)):
        with pytest.raises(ValidationError, match="after created"):
            _verdict(expires=expires)


@pytest.mark.parametrize("field", ["estimate", "lower", "upper", "alpha"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_reaches_no_digest(field: str, value: float) -> None:
    with pytest.raises((ValidationError, InputError)):
        _verdict(metrics=[_metric(**{field: value})]).digest()


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="extra"):
        MetricResult.model_validate(_metric(sampels=3))
    with pytest.raises(ValidationError, match="extra"):
        Predicate.model_validate(_predicate(waiver="x"))


def _changed(path: list[Any], value: Any) -> dict[str, Any]:
    statement = copy.deepcopy(_verdict().statement())
    at: Any = statement
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    return statement


SUBJECT = {"name": "faq@2", "digest": {"sha256": "a" * 64}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["subject"], []),
        (["subject"], [SUBJECT, SUBJECT]),
        (["subject"], None),
        (["subject"], "faq@2"),
        (["subject"], {"name": "faq@2"}),
        (["subject"], [None]),
        (["subject"], [{"name": "faq@2"}]),
        (["subject"], [{"digest": {"sha256": "a" * 64}}]),
        (["subject", 0, "digest"], {}),
        (["subject", 0, "digest"], "a" * 64),
        (["subject", 0, "digest"], {"sha512": "a" * 64}),
        (["subject", 0, "digest", "sha256"], "A" * 64),
        (["subject", 0, "digest", "sha256"], "sha256:" + "a" * 64),
        (["subject", 0, "name"], 3),
        (["_type"], "https://in-toto.io/Statement/v0.1"),
        (["predicateType"], "https://slsa.dev/provenance/v1"),
        (["predicate"], None),
        (["predicate"], []),
        (["predicate", "verdict"], "passed"),
        (["predicate", "metrics"], []),
        (["predicate", "expires"], "2026-11-22T12:00:00Z"),
        (["predicate", "expires"], "2027-11-22T12:00:00"),
        (["predicate", "gate"], {"name": "gate", "digest": "x"}),
        (["predicate", "extra"], 1),
    ],
)
def test_a_statement_that_is_no_verdict_about_one_release_is_refused(path: list[Any], value: Any) -> None:
    with pytest.raises(VerdictError):
        from_statement(_changed(path, value))


@pytest.mark.parametrize("key", ["_type", "subject", "predicateType", "predicate"])
def test_a_statement_without_a_part_is_refused(key: str) -> None:
    statement = _verdict().statement()
    del statement[key]
    with pytest.raises(VerdictError):
        from_statement(statement)


def test_the_message_names_what_does_not_read() -> None:
    with pytest.raises(VerdictError, match=r"predicate\.harness"):
        from_statement(_changed(["predicate", "harness"], None))


def test_the_types_are_the_ones_others_read() -> None:
    assert verdict.STATEMENT_TYPE == "https://in-toto.io/Statement/v1"
    assert verdict.PREDICATE_TYPE == "urn:tollgate:verdict:v1"
