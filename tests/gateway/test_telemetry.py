"""The metrics page: what ended is counted once, under labels that no client chooses."""

import math

from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry import Telemetry
from tests.gateway.builders import row, settled

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def _samples(telemetry: Telemetry) -> Samples:
    telemetry.hand_over()
    families = text_string_to_metric_families(telemetry.page().decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def _value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return _samples(telemetry).get((name, frozenset(labels.items())))


def test_a_settled_request_is_counted() -> None:
    telemetry = Telemetry()
    for number in range(3):
        telemetry.settled(settled(str(number), cached_tokens=2, first_byte_s=0.01, duration_s=2.0))
    requests = {"model": "faq", "release": "faq@1", "outcome": "completed"}
    assert _value(telemetry, "tollgate_requests_total", **requests) == 3
    for kind, count in (("input", 9), ("cached", 6), ("output", 6)):
        assert _value(telemetry, "tollgate_tokens_total", model="faq", kind=kind) == count
    assert _value(telemetry, "tollgate_request_seconds_sum", model="faq") == 6.0
    assert _value(telemetry, "tollgate_first_byte_seconds_count", model="faq") == 3


def test_what_is_unknown_is_not_counted_as_zero() -> None:
    telemetry = Telemetry()
    telemetry.settled(row())
    assert _value(telemetry, "tollgate_tokens_total", model="faq", kind="input") is None
    assert _value(telemetry, "tollgate_first_byte_seconds_count", model="faq") is None
    assert _value(telemetry, "tollgate_request_seconds_count", model="faq") == 1


def test_what_has_tokens_and_no_price_is_counted() -> None:
    telemetry = Telemetry()
    for cost, tokens in ((None, 3), ("0", 3), ("0.5", 3), (None, None)):
        telemetry.settled(settled(cost=cost, input_tokens=tokens))
    assert _value(telemetry, "tollgate_unpriced_total", model="faq") == 1


def test_each_gateway_counts_for_itself() -> None:
    one, two = Telemetry(), Telemetry()
    one.settled(settled())
    for each in (one, two):
        each.hand_over()
    assert b"faq" in one.page()
    assert b"faq" not in two.page()


def test_law_9_labels_are_the_gateways_own() -> None:
    telemetry = Telemetry()
    telemetry.settled(settled(key_id="the-key", team="the-team", request_id="the-request", replica="r"))
    telemetry.hand_over()
    page = telemetry.page()
    assert not any(word in page for word in (b"the-key", b"the-team", b"the-request"))


def test_what_happens_seldom_has_its_series_before_it_happens() -> None:
    telemetry = Telemetry()
    assert _value(telemetry, "tollgate_config_reloads_total", result="refused") == 0
    assert _value(telemetry, "tollgate_traces_total", result="dropped") == 0


def test_every_name_carries_the_products_and_a_help_text() -> None:
    families = list(text_string_to_metric_families(Telemetry().page().decode()))
    assert families
    assert all(family.name.startswith("tollgate_") and family.documentation for family in families)


def test_what_an_engine_does_not_say_is_no_number() -> None:
    telemetry = Telemetry()
    telemetry.said("r1", 0.5, None)
    assert _value(telemetry, "tollgate_replica_kv_usage", replica="r1") == 0.5
    waiting = _value(telemetry, "tollgate_replica_waiting", replica="r1")
    assert waiting is not None
    assert math.isnan(waiting)
    telemetry.gone("r1")
    assert _value(telemetry, "tollgate_replica_kv_usage", replica="r1") is None


def test_a_replica_that_is_gone_has_no_series() -> None:
    telemetry = Telemetry()
    telemetry.in_flight.labels("r1").set(1)
    telemetry.in_flight.labels("r2").set(1)
    telemetry.gone("r1")
    assert "r1" not in telemetry.page().decode()
    assert _value(telemetry, "tollgate_in_flight", replica="r2") == 1


def test_a_rule_that_could_not_be_evaluated_is_counted() -> None:
    telemetry = Telemetry()
    for _ in range(2):
        telemetry.rule_error("faq", "gold")
    assert _value(telemetry, "tollgate_rule_errors_total", model="faq", rule="gold") == 2


def test_tokens_that_are_not_accounted_for_have_a_sign_and_go_with_their_replica() -> None:
    telemetry = Telemetry()
    telemetry.unaccounted("r1", "prompt", -5)
    telemetry.unaccounted("r1", "output", None)
    assert _value(telemetry, "tollgate_unaccounted_tokens", replica="r1", kind="prompt") == -5
    unknown = _value(telemetry, "tollgate_unaccounted_tokens", replica="r1", kind="output")
    assert unknown is not None
    assert math.isnan(unknown)
    telemetry.gone("r1")
    assert _value(telemetry, "tollgate_unaccounted_tokens", replica="r1", kind="prompt") is None


def test_no_series_says_when_another_one_began() -> None:
    telemetry = Telemetry()
    telemetry.settled(settled())
    telemetry.hand_over()
    assert b"_created" not in telemetry.page()
