"""What the page says of how requests were served: the gateway's own time, gaps between tokens, routes, money."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import msgspec

from gateway.policy.accounting import Account
from gateway.policy.decisions import Decided, Routed
from gateway.policy.routing import Ask, Candidate
from gateway.telemetry import MOST_VALUES, OTHER, Telemetry
from tests.gateway.builders import release, settled

ASK = Ask(1, 0, 0, 0)
SEEN = (Candidate("r0", 1.0, 0, 0, 0, None, None), Candidate("r1", 1.0, 0, 0, 0, None, None))


def _value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    telemetry.hand_over()
    telemetry.count()
    return telemetry.registry.get_sample_value(f"tollgate_{name}", labels)


def _account(reasons: tuple[str, ...] = (), queued_s: float = 0.0) -> Account:
    routes = [Routed("score", SEEN, ASK, 0, reason) for reason in reasons]
    decided: Decided[msgspec.Raw] = Decided("d", routes=routes, queued_s=queued_s)
    return Account(settled(), release("faq@1", "main"), decided=decided, received_s=0.25)


def test_what_the_gateway_takes_is_without_the_body_that_comes_and_the_wait_for_a_slot() -> None:
    telemetry = Telemetry()
    telemetry.settled(settled(dispatched_s=1.251), _account(queued_s=1.0))
    added = _value(telemetry, "added_seconds_sum", model="faq")
    assert added is not None
    assert abs(added - 0.001) < 1e-9


def test_a_second_attempt_says_nothing_of_the_gateways_own_time() -> None:
    telemetry = Telemetry()
    telemetry.settled(settled(dispatched_s=1.0, attempts=2), _account())
    telemetry.settled(settled(dispatched_s=None), _account())
    assert _value(telemetry, "added_seconds_count", model="faq") is None


def test_a_gap_is_the_mean_of_a_whole_stream() -> None:
    telemetry = Telemetry()
    whole = {"stream": True, "first_byte_s": 1.0, "duration_s": 3.0, "output_tokens": 21}
    telemetry.settled(settled(**whole))
    for less in ({"stream": False}, {"outcome": "client_closed"}, {"output_tokens": 1}, {"choices": 2}):
        telemetry.settled(settled(**{**whole, **less}))
    assert _value(telemetry, "token_gap_seconds_sum", model="faq") == 0.1
    assert _value(telemetry, "token_gap_seconds_count", model="faq") == 1


def test_each_choice_is_counted_by_its_reason() -> None:
    telemetry = Telemetry()
    telemetry.settled(settled(), _account(("prefix", "load", "load")))
    assert _value(telemetry, "routes_total", model="faq", reason="load") == 2
    assert _value(telemetry, "routes_total", model="faq", reason="prefix") == 1


def test_requests_that_end_while_another_thread_counts_are_counted_once() -> None:
    telemetry, noted = Telemetry(), 20_000
    with ThreadPoolExecutor(4) as threads:
        for number in range(noted):
            telemetry.settled(settled(), _account(("load",)))
            if number % 50 == 0 and telemetry.hand_over():
                threads.submit(telemetry.count)
    for name, labels in (("request_seconds_count", {}), ("routes_total", {"reason": "load"})):
        assert _value(telemetry, name, model="faq", **labels) == noted


def test_a_page_has_what_another_thread_was_to_count() -> None:
    telemetry = Telemetry()
    telemetry.settled(settled())
    assert telemetry.hand_over()
    telemetry.settled(settled("another"))
    assert b'tollgate_request_seconds_count{model="faq"} 1.0' in telemetry.page()
    telemetry.hand_over()
    assert b'tollgate_request_seconds_count{model="faq"} 2.0' in telemetry.page()
    assert not telemetry.hand_over(), "nothing is left"


def test_cost_is_added_up_as_decimals() -> None:
    telemetry = Telemetry()
    for number in range(10):
        telemetry.settled(settled(str(number), cost="0.1"))
    assert _value(telemetry, "cost_total", model="faq", currency="USD") == float(Decimal(1))


def test_thousands_of_models_teams_and_keys_leave_a_page_of_bounded_size() -> None:
    telemetry = Telemetry()
    for number in range(3000):
        telemetry.settled(
            settled(
                f"tg-{number}", model=f"m{number}", release=f"m{number}@1", team=f"team{number}", key_id=f"key{number}",
                cost="1", dispatched_s=0.5,
            ),
            _account(("load",)),
        )  # fmt: skip
    assert _value(telemetry, "requests_total", model=OTHER, release=OTHER, outcome="completed") == 3000 - MOST_VALUES
    assert _value(telemetry, "cost_total", model=OTHER, currency="USD") == 3000 - MOST_VALUES
    for family in telemetry.registry.collect():
        seen = {sample.labels.get("model") for sample in family.samples}
        assert len(seen) <= MOST_VALUES + 1, family.name


def test_the_table_has_every_name_of_the_page() -> None:
    telemetry = Telemetry()
    families = {family.name for family in telemetry.registry.collect()}
    assert {each.name.removesuffix("_total") for each in telemetry.table} == families
    assert len(telemetry.table) == len(families)
