"""A gateway's share of limits: what it admits, gives back, asks for, and tells clients."""

import math

import pytest

from gateway.contracts.errors import RateLimited
from gateway.policy.limits import Admission
from gateway.policy.shares import AGAIN_S, DRY_S, NONE, Answer, Ask, SharedHolder, Three
from gateway.settings.limits import Quota
from tests.gateway.builders import principal

QUOTA = Quota(rpm=60, tpm=6000, concurrency=10)


def _holder(*has: int, quota: Quota = QUOTA, at: float = 0.0) -> SharedHolder:
    made = SharedHolder("key", "k", quota)
    made.under(quota, 0.0)
    made.hold((has[0], has[1], has[2]) if has else NONE, at)
    return made


def _plan(holder: SharedHolder, now: float) -> Ask:
    found = holder.plan(now)
    assert found is not None
    return found


def test_without_a_share_nothing_passes_and_with_one_as_much_as_it_holds() -> None:
    holder = _holder()
    assert holder.take(10, 0.0) is None
    holder.hold((3, 100, 10), 0.0)
    assert [holder.take(10, 0.0) is None for _ in range(5)] == [False] * 3 + [True] * 2
    assert holder.take(10, 19.9) is None
    assert holder.take(10, 20.0) is not None, "3 a minute"


def test_what_nobody_uses_goes_back_and_what_weighs_stays() -> None:
    holder = _holder(40, 4000, 8)
    for _ in range(30):
        holder.take(100, 0.0)
        holder.in_flight -= 1
    holder.in_flight = 2
    asked = _plan(holder, 20.0)
    assert asked.has == (17, 1667, 2), "30 of 40 weigh, of which 20 s refill 13"
    assert holder.has == asked.has, "given up before it is said"
    assert (asked.need, asked.ahead, asked.limits) == (NONE, NONE, (60, 6000, 10))


def test_more_is_given_back_when_others_lack_room() -> None:
    kept: list[Three] = []
    for pressed in (False, True):
        holder = _holder(40, 4000, 8)
        holder.plan(0.0)
        holder.hold((40, 4000, 8), 0.0)
        for tick in range(20):
            holder.take(10, tick * 0.1)
            holder.in_flight -= 1
        holder.pressed = pressed
        holder.plan(2.0)
        kept.append(holder.has)
    assert kept[0][0] > kept[1][0] >= 18
    assert kept[0][2] >= 6 > kept[1][2]


def test_those_who_wait_are_counted_together_and_only_what_lacks_is_asked_for() -> None:
    holder = _holder(10, 150, 10)
    assert holder.has_room(100, 0.0)
    assert not holder.has_room(200, 0.0)
    holder.lack(200, 0.0)
    holder.lack(200, 0.0)
    asked = _plan(holder, 0.0)
    assert asked.need[1] == 50 + 200
    assert asked.need[0] == asked.need[2] == 0
    assert not holder.heard(asked, Answer((10, 200, 10), (0, 0, 0)), 1.0)
    assert holder.dry_until == 1.0 + DRY_S
    assert holder.heard(asked, Answer((10, 400, 10), (5, 7, 0)), 1.0)
    assert (holder.has, holder.free) == ((10, 400, 10), (5, 7, 0))


def test_who_has_nothing_to_say_says_nothing_but_once_a_minute() -> None:
    holder = _holder(1, 10, 1)
    holder.take(10, 0.0)
    holder.heard(_plan(holder, 0.0), Answer((1, 10, 1), NONE), 0.0)
    holder.dry_until = math.inf
    assert holder.plan(0.1) is None
    assert holder.plan(AGAIN_S + 0.1) is not None
    quiet = _holder()
    assert (quiet.plan(0.0), quiet.plan(1000.0)) == (None, None)
    assert quiet.idle(1000.0)
    assert not _holder(1, 0, 0).idle(1000.0)


def test_a_smaller_limit_makes_a_share_smaller_and_none_ends_it() -> None:
    holder = _holder(40, 4000, 8)
    holder.under(Quota(rpm=20), 0.0)
    assert holder.has == (20, 0, 0)
    assert holder.take(10**9, 0.0) is not None
    holder.hold((40, 40, 40), 1.0)
    assert holder.has == (20, 0, 0)


def test_with_nobody_to_ask_it_has_the_part_of_one_gateway_or_what_it_had() -> None:
    holder = _holder(50, 100, 1)
    holder.at_least(4, 0.0)
    assert holder.has == (50, 1500, 3)


def test_clients_are_told_the_limits_over_all_gateways() -> None:
    admission = Admission(SharedHolder)
    asker = principal(quota=Quota(rpm=60, tpm=6000), team_quota=Quota(concurrency=5))
    key, team = admission.keys.of("k", asker.quota, 0.0), admission.teams.of("search", asker.team_quota, 0.0)
    assert isinstance(key, SharedHolder)
    assert isinstance(team, SharedHolder)
    key.heard(Ask("key:k", key.limits, NONE), Answer((2, 300, 0), (30, 4000, 0)), 0.0)
    team.hold((0, 0, 1), 0.0)
    lines = admission.told(asker, 0.0)
    assert b"limit-requests: 60\r\nx-ratelimit-remaining-requests: 32\r\n" in lines
    assert b"limit-tokens: 6000\r\nx-ratelimit-remaining-tokens: 4300\r\n" in lines
    first = admission.admit(asker, 100, 0.0)
    assert key.requests_whole - key.asked == 31.0
    with pytest.raises(RateLimited, match=r"team 'search' may have 5 requests in flight") as caught:
        admission.admit(asker, 100, 0.0)
    assert (caught.value.retry_after, caught.value.limit, key.in_flight) == (1, "team.concurrency", 1)
    admission.settle(first, 50, 0.0)
    assert admission.told(asker, 0.0).count(b"remaining-tokens: 4250") == 1
    with pytest.raises(RateLimited, match="can never pass"):
        admission.admit(asker, 6001, 0.0)
    with pytest.raises(RateLimited, match="of which 250 are left here now"):
        admission.admit(asker, 6000, 0.0)
    admission.settle(admission.admit(asker, 1, 0.0), 1, 0.0)
    with pytest.raises(RateLimited, match="limited to 60 requests per minute"):
        admission.admit(asker, 1, 0.0)


@pytest.mark.parametrize(
    ("quota", "share", "gateways", "tokens", "expected"),
    [
        (Quota(rpm=20), (10, 0, 0), 2, 1, 6),  # half of the limit is refilled half as fast
        (Quota(tpm=1200), (0, 600, 0), 2, 100, 10),
        (Quota(rpm=20), NONE, 2, 1, 9),  # no share, so what refills one request, and one for each gateway
        (Quota(rpm=600), (1, 0, 0), 2, 1, 1),
        (Quota(rpm=1), NONE, 4, 1, 60),
        (Quota(rpm=20), (20, 0, 0), 2, 1, 3),  # all of it: as with one gateway
    ],
)
def test_who_asks_again_when_it_was_told_passes_by_this_gateways_share(
    quota: Quota, share: Three, gateways: int, tokens: int, expected: int
) -> None:
    admission, asker = Admission(SharedHolder), principal(quota=quota)
    key = admission.keys.of("k", quota, 0.0)
    assert isinstance(key, SharedHolder)
    key.hold(share, 0.0)
    key.gateways = gateways
    while key.take(tokens, 0.0) is not None:
        continue
    with pytest.raises(RateLimited) as caught:
        admission.admit(asker, tokens, 0.0)
    assert caught.value.retry_after == expected
    if share[0] > 1 or share[1]:
        assert key.take(tokens, float(expected)) is not None
