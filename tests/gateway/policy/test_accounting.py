"""The row of a request: what was true at admission, and what became true at the end."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from gateway.contracts.ledger import OUTCOMES
from gateway.contracts.prices import UNPRICED, PriceBook
from gateway.contracts.usage import EngineTimes, Usage
from gateway.policy.accounting import Account, admit
from gateway.policy.endpoints import ENDPOINTS
from gateway.policy.request import parse
from tests.gateway.builders import NOW, principal, release

BOOK = PriceBook.model_validate(
    {
        "version": "v7",
        "currency": "EUR",
        "models": {"faq": {"input": "0.10", "cached_input": "0.01", "output": "0.30"}, "free": "unpriced"},
    }
)


def _admit(name: str = "faq@1", book: PriceBook = BOOK, **who: str) -> Account:
    request = parse(b'{"model":"asked","stream":true}', ENDPOINTS["/v1/completions"])
    return admit("tg-1", NOW, principal(**who), request, release(name), book)


def test_an_admitted_row_says_what_is_true_if_nothing_more_is_heard() -> None:
    row = _admit(key_id="k9", team="sales", scope="evaluate").admitted
    assert (row.request_id, row.started_at, row.key_id, row.team, row.purpose) == (
        "tg-1",
        NOW,
        "k9",
        "sales",
        "evaluate",
    )
    assert (row.model, row.release, row.release_digest) == ("faq", "faq@1", release().digest)
    assert (row.endpoint, row.stream) == ("/v1/completions", True)
    assert (row.outcome, row.status, row.cost, row.input_tokens) == ("gateway_lost", 0, None, None)
    assert (row.currency, row.price_version) == ("EUR", "v7")
    assert row.outcome in OUTCOMES


def test_a_settled_row_is_exact() -> None:
    account = _admit()
    account.outcome, account.status, account.replica, account.attempts = "completed", 200, "r1", 2
    account.usage, account.first_byte_s = Usage(1_000_003, 7, 1_000_000), 0.25
    row = account.settled(BOOK, 1.5)
    assert row.cost == "0.010002400"
    assert Decimal(row.cost) == (3 * Decimal("0.10") + 1_000_000 * Decimal("0.01") + 7 * Decimal("0.30")) / 1_000_000
    assert (row.input_tokens, row.cached_tokens, row.output_tokens) == (1_000_003, 1_000_000, 7)
    assert (row.replica, row.attempts, row.first_byte_s, row.duration_s) == ("r1", 2, 0.25, 1.5)
    assert (row.dispatched_s, row.tries, row.engine_queue_s, row.engine_prefill_s) == (None, None, None, None)


def test_settling_changes_nothing_that_was_known_at_admission() -> None:
    account = _admit()
    before = msgspec.structs.asdict(account.admitted)
    after = msgspec.structs.asdict(account.settled(BOOK, 0.0))
    known = set(before) - {"attempts"}
    assert {name: after[name] for name in known} == {name: before[name] for name in known}
    assert after["attempts"] == 0


@pytest.mark.parametrize(
    ("name", "book", "usage"),
    [("faq@1", BOOK, None), ("free@1", BOOK, Usage(5, 5)), ("other@1", UNPRICED, Usage(5, 5))],
    ids=["unmetered", "declared unpriced", "no prices"],
)
def test_law_5_what_has_no_price_is_not_zero(name: str, book: PriceBook, usage: Usage | None) -> None:
    account = _admit(name, book)
    account.usage = usage
    assert account.cost(book) is None
    assert account.settled(book, 0.0).cost is None


def test_unknown_tokens_stay_unknown() -> None:
    account = _admit()
    account.usage = Usage(5, 0, None)
    row = account.settled(BOOK, 0.0)
    assert (row.input_tokens, row.cached_tokens, row.output_tokens) == (5, None, 0)


def test_reasoning_is_written_into_the_row_and_has_its_own_price() -> None:
    models = {"faq": {"input": "0", "output": "1", "reasoning": "3"}}
    book = PriceBook.model_validate({"version": "v", "models": models})
    account = _admit(book=book)
    account.usage = Usage(5, 10, None, 4)
    row = account.settled(book, 0.0)
    assert (row.output_tokens, row.reasoning_tokens, row.cost) == (10, 4, "0.000018000")


def test_a_request_is_priced_by_when_it_started() -> None:
    day = datetime.fromtimestamp(NOW, UTC).date()
    periods = [{"until": day, "input": "1", "output": "0"}, {"from": day, "input": "2", "output": "0"}]
    ended = [{"until": day, "input": "1", "output": "0"}]
    models = {"faq": periods, "gone": ended}
    book = PriceBook.model_validate({"version": "v", "models": models})
    for name, cost in (("faq@1", "2.000000000"), ("gone@1", None)):
        account = _admit(name, book)
        account.usage = Usage(1_000_000, 0)
        assert account.settled(book, 86_400.0).cost == cost


def test_the_smallest_cost_is_not_written_with_an_exponent() -> None:
    book = PriceBook.model_validate({"version": "v", "models": {"faq": {"input": "0.001", "output": "0"}}})
    account = _admit(book=book)
    account.usage = Usage(1, 1_000)
    assert account.settled(book, 0.0).cost == "0.000000001"


def test_an_attempt_that_failed_is_a_try_once_another_one_speaks_for_the_row() -> None:
    account = _admit()
    account.replica, account.dispatched_s = "r1", 0.25
    account.failed(0.5)
    assert account.settled(BOOK, 1.0).tries is None, "it is the row's own"
    account.replica, account.dispatched_s = "r2", 0.75
    row = account.settled(BOOK, 1.0)
    assert (row.replica, row.dispatched_s, row.tries) == ("r2", 0.75, '[["r1",0.25,0.5]]')
    account.failed(1.0)
    account.replica, account.dispatched_s = "r1", 0.25
    assert account.settled(BOOK, 1.0).tries == '[["r2",0.75,1.0]]'


def test_what_never_reached_a_replica_took_no_time_of_it() -> None:
    account = _admit()
    account.replica = "r1"
    account.failed(0.5)
    assert account.settled(BOOK, 1.0).tries is None


def test_the_engines_times_and_who_answered_are_in_the_settled_row() -> None:
    account = _admit()
    account.usage, account.dispatched_s = Usage(5, 1, times=EngineTimes(0.25, None)), 0.125
    account.release = release("other@2")
    row = account.settled(BOOK, 1.0)
    assert (row.engine_queue_s, row.engine_prefill_s, row.dispatched_s) == (0.25, None, 0.125)
    assert (row.model, row.release, row.release_digest) == ("faq", "other@2", release("other@2").digest)


def test_region_and_tags_are_known_at_admission() -> None:
    request = parse(b'{"model":"asked"}', ENDPOINTS["/v1/completions"])
    account = admit("tg-1", NOW, principal(), request, release(), BOOK, "SP", '{"a":"b"}')
    for row in (account.admitted, account.settled(BOOK, 0.0)):
        assert (row.region, row.tags) == ("SP", '{"a":"b"}')


@pytest.mark.parametrize(
    ("path", "body", "choices"),
    [
        ("/v1/chat/completions", b'{"model":"m","messages":[],"n":3}', 3),
        ("/v1/completions", b'{"model":"m","prompt":["a","b"],"n":2}', 2),
        ("/v1/completions", b'{"model":"m","prompt":["a","b"],"n":1,"best_of":1}', None),
        ("/v1/chat/completions", b'{"model":"m","messages":[]}', None),
        ("/v1/responses", b'{"model":"m","input":"a","n":3}', None),
    ],
)
def test_choices_stand_in_the_row_where_an_engine_reads_a_prompt_for_each(
    path: str, body: bytes, choices: int | None
) -> None:
    asked = parse(body, ENDPOINTS[path])
    assert admit("tg-1", NOW, principal(), asked, release(), BOOK).admitted.choices == choices
