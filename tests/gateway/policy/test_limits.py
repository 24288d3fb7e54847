"""Admission: what is refused, what is said of it, and what it leaves as it was."""

import itertools
from collections.abc import Callable

import pytest

from gateway.contracts.errors import RateLimited
from gateway.policy.auth import Principal
from gateway.policy.holders import SWEEP_AT
from gateway.policy.limits import UNLIMITED, Admission, Reservation
from gateway.settings.limits import Quota
from tests.gateway.builders import principal

NOBODY = principal()


def _asker(key_id: str = "k", team: str = "search", *, shared: dict[str, int] | None = None, **own: int) -> Principal:
    """A principal with limits of its own, and those that its team shares."""
    return principal(
        key_id=key_id,
        team=team,
        quota=Quota.model_validate(own) if own else None,
        team_quota=Quota.model_validate(shared) if shared else None,
    )


def _refused(act: Callable[[], object]) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        act()
    return caught.value


def _admitted(admission: Admission, asker: Principal, now: float = 0.0, tokens: int = 0) -> int:
    """How many requests pass at one moment."""
    for count in itertools.count():
        try:
            admission.admit(asker, tokens, now)
        except RateLimited:
            return count
    raise AssertionError


def test_without_limits_every_request_shares_one_reservation_and_nothing_is_counted() -> None:
    admission = Admission()
    found = [admission.admit(NOBODY, 10**9, 0.0) for _ in range(1000)]
    assert all(each is UNLIMITED for each in found)
    for each in found:
        admission.settle(each, 5, 1.0)
    assert (len(admission.keys), len(admission.teams), admission.told(NOBODY, 0.0)) == (0, 0, b"")
    assert Reservation(0, 0.0, open=False) == UNLIMITED


def test_a_minute_s_worth_may_come_at_once_and_then_one_at_a_time() -> None:
    admission, asker = Admission(), _asker(rpm=60)
    assert _admitted(admission, asker) == 60
    assert _admitted(admission, asker, now=0.99) == 0
    assert _admitted(admission, asker, now=1.0) == 1
    assert _admitted(admission, asker, now=11.0) == 10
    assert _admitted(admission, asker, now=1000.0) == 60


@pytest.mark.parametrize(
    ("own", "tokens", "limit", "says", "wait"),
    [
        ({"rpm": 2}, 0, "key.requests", "2 requests per minute", 30),
        (
            {"tpm": 100},
            50,
            "key.tokens",
            "100 tokens per minute, and this request may take 50, of which 0",
            30,
        ),
        ({"concurrency": 2}, 0, "key.concurrency", "2 requests in flight", 1),
    ],
)
def test_a_refusal_names_the_limit_its_value_and_the_wait(
    own: dict[str, int], tokens: int, limit: str, says: str, wait: int
) -> None:
    for asker, whose in ((_asker(**own), "key 'k'"), (_asker(shared=own), "team 'search'")):
        admission = Admission()
        assert _admitted(admission, asker, tokens=tokens) == 2
        error = _refused(lambda: admission.admit(asker, tokens, 0.0))  # noqa: B023
        assert (error.status, error.code, error.retry_after, error.passes) == (429, "rate_limit_exceeded", wait, True)
        assert error.message.startswith(whose)
        assert says in error.message
        assert error.message.endswith(f"ask again in {wait} s")
        assert error.limit == limit.replace("key", whose.split()[0])


def test_who_has_waited_as_long_as_was_said_passes() -> None:
    for rpm in (1, 7, 60, 601, 90_000):
        admission, asker = Admission(), _asker(rpm=rpm)
        _admitted(admission, asker, now=0.3)
        wait = _refused(lambda: admission.admit(asker, 0, 0.3)).retry_after  # noqa: B023
        assert wait is not None
        assert admission.admit(asker, 0, 0.3 + wait).open


def test_of_several_limits_that_refuse_the_longest_wait_is_told() -> None:
    admission, asker = Admission(), _asker(rpm=60, tpm=10, shared={"rpm": 1})
    admission.admit(asker, 10, 0.0)
    error = _refused(lambda: admission.admit(asker, 1, 0.0))
    assert (error.limit, error.retry_after) == ("team.requests", 60)


def test_a_request_larger_than_the_whole_limit_is_told_that_it_never_passes() -> None:
    admission, asker = Admission(), _asker(tpm=100, shared={"rpm": 1})
    error = _refused(lambda: admission.admit(asker, 101, 0.0))
    assert (error.status, error.retry_after, error.passes) == (429, None, False)
    assert "never pass" in error.message
    assert admission.admit(asker, 100, 0.0).open


def test_nothing_is_taken_of_one_when_the_other_refuses() -> None:
    admission = Admission()
    first, second = (_asker(name, rpm=10, tpm=1000, concurrency=5, shared={"rpm": 1}) for name in "ab")
    admission.admit(first, 500, 0.0)
    before = admission.told(second, 0.0)
    for _ in range(20):
        _refused(lambda: admission.admit(second, 500, 0.0))
    assert admission.told(second, 0.0) == before
    alone = _asker("b", rpm=10, tpm=1000, concurrency=5)
    assert _admitted(admission, alone, tokens=200) == 5


def test_keys_of_a_team_share_its_limit_and_other_teams_do_not() -> None:
    admission = Admission()
    askers = [_asker(name, shared={"rpm": 3}) for name in "ab"]
    assert _admitted(admission, askers[0]) == 3
    assert _admitted(admission, askers[1]) == 0
    assert _admitted(admission, _asker("c", team="sales", shared={"rpm": 3})) == 3


def test_a_slot_is_free_again_when_its_request_is_over() -> None:
    admission, asker = Admission(), _asker(concurrency=2)
    held = [admission.admit(asker, 0, 0.0) for _ in range(2)]
    _refused(lambda: admission.admit(asker, 0, 0.0))
    admission.settle(held[0], None, 1.0)
    assert _admitted(admission, asker, now=1.0) == 1


@pytest.mark.parametrize(("took_s", "in_flight", "wait"), [(10.0, 2, 5), (9.0, 2, 5), (0.5, 2, 1), (3600.0, 1, 60)])
def test_the_next_slot_is_awaited_by_little_s_law(took_s: float, in_flight: int, wait: int) -> None:
    admission, asker = Admission(), _asker(concurrency=in_flight)
    admission.settle(admission.admit(asker, 0, 0.0), None, took_s)
    for _ in range(in_flight):
        admission.admit(asker, 0, took_s)
    assert _refused(lambda: admission.admit(asker, 0, took_s)).retry_after == wait


def test_what_a_request_did_not_use_goes_back_at_once() -> None:
    admission, asker = Admission(), _asker(tpm=1000)
    held = admission.admit(asker, 1000, 0.0)
    _refused(lambda: admission.admit(asker, 100, 0.0))
    admission.settle(held, 900, 0.0)
    assert _admitted(admission, asker, tokens=100) == 1


def test_more_than_was_reserved_is_a_debt_that_the_next_one_waits_for() -> None:
    admission, asker = Admission(), _asker(tpm=60)
    admission.settle(admission.admit(asker, 60, 0.0), 120, 0.0)
    assert _refused(lambda: admission.admit(asker, 30, 0.0)).retry_after == 90
    assert admission.admit(asker, 30, 90.0).open


@pytest.mark.parametrize("tokens", [None, 600])
def test_unknown_usage_is_the_reservation(tokens: int | None) -> None:
    admission, asker = Admission(), _asker(tpm=1000)
    admission.settle(admission.admit(asker, 600, 0.0), tokens, 0.0)
    assert _admitted(admission, asker, tokens=400) == 1


def test_a_request_counts_although_no_engine_saw_it() -> None:
    admission, asker = Admission(), _asker(rpm=1, tpm=1000)
    admission.settle(admission.admit(asker, 1000, 0.0), 0, 0.0)
    assert _refused(lambda: admission.admit(asker, 1000, 0.0)).limit == "key.requests"


def test_what_the_minutes_have_refilled_does_not_go_back_too() -> None:
    # Ten requests, a minute apart, each with the whole limit, and none of them used any: no ten minutes' worth at once.
    admission, asker = Admission(), _asker(tpm=1000)
    held = [admission.admit(asker, 1000, 60.0 * minute) for minute in range(10)]
    used = 0
    for each in held:
        admission.settle(each, 0, 600.0)
        used += _admitted(admission, asker, now=600.0, tokens=1000) * 1000
    assert used == 1000


def test_a_busy_bucket_gives_back_all_of_it() -> None:
    # Requests of four seconds that use a tenth of what they reserve: the limit is spent, not merely reserved.
    admission, asker = Admission(), _asker(tpm=6000)
    used, running = 0, list[tuple[float, Reservation]]()
    for second in range(600):
        now = float(second)
        while running and running[0][0] <= now:
            admission.settle(running.pop(0)[1], 100, now)
            used += 100
        for _ in range(2):
            try:
                running.append((now + 4.0, admission.admit(asker, 1000, now)))
            except RateLimited:
                break
    assert used >= 0.9 * 6000 * 10


def test_a_changed_limit_counts_at_once_and_what_was_used_stays_used() -> None:
    admission = Admission()
    assert _admitted(admission, _asker(rpm=10)) == 10
    assert _admitted(admission, _asker(rpm=15)) == 5
    assert _refused(lambda: admission.admit(_asker(rpm=5), 0, 0.0)).retry_after == 132  # 11 too many, 12 s each
    assert admission.admit(NOBODY, 0, 0.0) is UNLIMITED


@pytest.mark.parametrize("first", [{"tpm": 1000, "concurrency": 9}, {"concurrency": 9}])
@pytest.mark.parametrize("then", [{"tpm": 1000, "concurrency": 9}, {"concurrency": 9}])
def test_a_limit_set_or_lifted_while_a_request_runs_breaks_no_counter(
    first: dict[str, int], then: dict[str, int]
) -> None:
    admission = Admission()
    held = admission.admit(_asker(**first), 400, 0.0)
    admission.admit(_asker(**then), 0, 0.0)
    admission.settle(held, 300, 0.0)
    left = _admitted(admission, _asker(tpm=1000, concurrency=9), tokens=100)
    assert left == (7 if "tpm" in first and "tpm" in then else 8)  # a slot is taken, and 300 tokens of what was limited


def test_a_clock_that_stands_or_goes_back_refills_nothing() -> None:
    admission, asker = Admission(), _asker(rpm=60)
    assert _admitted(admission, asker, now=100.0) == 60
    assert [_admitted(admission, asker, now=now) for now in (100.0, 50.0, -1e9)] == [0, 0, 0]
    assert _admitted(admission, asker, now=101.0) == 1


def test_memory_is_bounded_by_who_asks() -> None:
    admission = Admission()
    busy = admission.admit(_asker("busy", "busy", concurrency=1, shared={"concurrency": 1}), 0, 0.0)
    for number in range(20 * SWEEP_AT):
        asker = _asker(f"k{number}", f"t{number}", rpm=60, shared={"tpm": 60})
        admission.settle(admission.admit(asker, 1, float(number)), None, float(number))
        assert len(admission.keys) <= SWEEP_AT
    assert len(admission.teams) <= SWEEP_AT
    assert busy.key is not None
    assert busy.key.in_flight == 1
    _refused(lambda: admission.admit(_asker("busy", "other", concurrency=1), 0, 1e6))
    admission.settle(busy, None, 1e6)
    for holders in (admission.keys, admission.teams):
        holders.sweep(1e6)
        assert len(holders) == 0


def test_who_still_owes_is_not_forgotten() -> None:
    admission, asker = Admission(), _asker(rpm=60, tpm=60)
    admission.settle(admission.admit(asker, 60, 0.0), None, 0.0)
    admission.keys.sweep(59.0)
    assert len(admission.keys) == 1
    admission.keys.sweep(60.0)
    assert len(admission.keys) == 0


def test_settling_twice_counts_once() -> None:
    admission, asker = Admission(), _asker(tpm=1000, concurrency=3, shared={"concurrency": 3})
    held = [admission.admit(asker, 300, 0.0) for _ in range(2)]
    for amount in (100, 0, None, 10**6):
        admission.settle(held[0], amount, 0.0)
    assert b"x-ratelimit-remaining-tokens: 600\r\n" in admission.told(asker, 0.0)
    assert _admitted(admission, asker, tokens=1) == 2
