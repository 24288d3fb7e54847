"""Laws of admission, over any history of requests: bounds, all or nothing, settled once, back to zero."""

from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contracts.errors import RateLimited
from gateway.policy.auth import Principal
from gateway.policy.buckets import MINUTE_S
from gateway.policy.holders import SLACK, Holders
from gateway.policy.limits import Admission, Reservation, told
from gateway.settings.limits import Quota
from tests.gateway.builders import principal

LIMITS = st.none() | st.integers(1, 20)
QUOTAS = st.builds(Quota, rpm=LIMITS, tpm=st.none() | st.integers(1, 500), concurrency=st.none() | st.integers(1, 5))
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "settle", "again"]),
        st.sampled_from("abc"),  # the key that asks
        st.integers(0, 300),  # tokens that it may take
        st.floats(0.0, 1.0),  # the part of them that it took
        st.sampled_from([0.0, 0.0, 0.1, 1.0, 7.5, 30.0, 61.0]) | st.floats(0.0, 200.0),  # seconds until the next step
    ),
    max_size=60,
)
TEAMS = {"a": "one", "b": "one", "c": "two"}


@dataclass
class Admitted:
    """One request that passed: when, what of, and what it took in the end."""

    asker: Principal
    at: float
    reservation: Reservation
    took: int | None = None

    @property
    def tokens(self) -> int:
        """What it counts for: what it took, or what it may."""
        return self.reservation.tokens if self.took is None else self.took


@dataclass
class World:
    """A history of requests of three keys in two teams."""

    key_quota: Quota
    team_quota: Quota
    admission: Admission = field(default_factory=Admission)
    now: float = 0.0
    admitted: list[Admitted] = field(default_factory=list)

    def asker(self, key: str) -> Principal:
        own, shared = (None if each.limits_nothing else each for each in (self.key_quota, self.team_quota))
        return principal(key_id=key, team=TEAMS[key], quota=own, team_quota=shared)

    def play(self, steps: list[tuple[str, str, int, float, float]]) -> None:
        for what, key, tokens, part, wait in steps:
            if what == "ask":
                asker = self.asker(key)
                with suppress(RateLimited):
                    self.admitted.append(Admitted(asker, self.now, self.admission.admit(asker, tokens, self.now)))
            elif self.admitted:
                each = self.admitted[int(part * (len(self.admitted) - 1))]
                took = int(part * each.reservation.tokens)
                each.took = took if each.took is None else each.took
                for _ in range(1 + (what == "again")):
                    self.admission.settle(each.reservation, took, self.now)
            self.now += wait

    def refusal(self, asker: Principal, tokens: int) -> RateLimited | None:
        """What one more request is told; one that passes is over at once."""
        try:
            self.admission.settle(self.admission.admit(asker, tokens, self.now), tokens, self.now)
        except RateLimited as error:
            return error
        return None

    def end(self) -> None:
        for each in self.admitted:
            self.admission.settle(each.reservation, each.took, self.now)


def _bounded(events: list[tuple[float, int]], limit: int) -> None:
    """In no span of t seconds more than a minute's worth and what the bucket fills meanwhile."""
    for first in range(len(events)):
        total = 0
        for last in range(first, len(events)):
            total += events[last][1]
            span = events[last][0] - events[first][0]
            assert total <= limit + limit / MINUTE_S * span + len(events) * SLACK


@settings(deadline=None)
@given(QUOTAS, QUOTAS, STEPS)
def test_no_key_and_no_team_ever_takes_more_than_its_limits(
    key_quota: Quota, team_quota: Quota, steps: list[tuple[str, str, int, float, float]]
) -> None:
    world = World(key_quota, team_quota)
    world.play(steps)
    for of, quota in (("key_id", key_quota), ("team", team_quota)):
        for name in {getattr(each.asker, of) for each in world.admitted}:
            own = [each for each in world.admitted if getattr(each.asker, of) == name]
            if quota.rpm is not None:
                _bounded([(each.at, 1) for each in own], quota.rpm)
            if quota.tpm is not None:
                _bounded([(each.at, each.tokens) for each in own], quota.tpm)
            if quota.concurrency is not None:
                assert sum(each.reservation.open for each in own) <= quota.concurrency


def _in_flight(holders: Holders, of: str, world: World) -> None:
    quota = world.key_quota if of == "key_id" else world.team_quota
    for name in {getattr(each.asker, of) for each in world.admitted}:
        holder = holders.of(name, None if quota.limits_nothing else quota, world.now)
        running = sum(each.reservation.open for each in world.admitted if getattr(each.asker, of) == name)
        assert holder is None or holder.in_flight == running


@settings(deadline=None)
@given(QUOTAS, QUOTAS, STEPS)
def test_laws_2_and_3_each_reservation_is_settled_once_and_counters_return_to_zero(
    key_quota: Quota, team_quota: Quota, steps: list[tuple[str, str, int, float, float]]
) -> None:
    world = World(key_quota, team_quota)
    world.play(steps)
    for holders, of in ((world.admission.keys, "key_id"), (world.admission.teams, "team")):
        _in_flight(holders, of, world)
    world.end()
    for holders, of in ((world.admission.keys, "key_id"), (world.admission.teams, "team")):
        _in_flight(holders, of, world)
        holders.sweep(world.now + 1000 * MINUTE_S)
        assert len(holders) == 0


@given(QUOTAS, QUOTAS, st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 300)), max_size=40))
def test_a_refused_request_takes_nothing_of_anyone(
    key_quota: Quota, team_quota: Quota, asked: list[tuple[str, int]]
) -> None:
    world = World(key_quota, team_quota)
    for key, tokens in asked:
        askers = [world.asker(each) for each in TEAMS]
        before = [world.admission.told(each, world.now) for each in askers]
        count = len(world.admitted)
        world.play([("ask", key, tokens, 0.0, 0.0)])
        if len(world.admitted) == count:
            assert [world.admission.told(each, world.now) for each in askers] == before


@settings(deadline=None)
@given(QUOTAS, QUOTAS, STEPS)
def test_what_an_admitted_request_is_told_is_what_a_look_at_its_limits_finds(
    key_quota: Quota, team_quota: Quota, steps: list[tuple[str, str, int, float, float]]
) -> None:
    world = World(key_quota, team_quota)
    for step in steps:
        count, now = len(world.admitted), world.now
        world.play([step])
        for each in world.admitted[count:]:
            found = told(each.reservation.key, each.reservation.team)
            assert found == world.admission.told(each.asker, now)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 600)), max_size=30), st.randoms(use_true_random=False))
def test_the_true_up_conserves(requests: list[tuple[int, int]], order: Random) -> None:
    # At one moment nothing is refilled: what is gone in the end is what was used, whatever the order of the endings.
    limit = 10**6
    admission, asker = Admission(), principal(quota=Quota(tpm=limit))
    held = [(admission.admit(asker, most, 5.0), took) for most, took in requests]
    order.shuffle(held)
    for reservation, took in held:
        admission.settle(reservation, took, 5.0)
    left = limit - sum(took for _, took in requests)
    assert b"x-ratelimit-remaining-tokens: %d\r\n" % left in admission.told(asker, 5.0)


@settings(deadline=None)
@given(st.integers(1, 500), STEPS)
def test_giving_back_is_never_more_generous_than_knowing_beforehand(
    tpm: int, steps: list[tuple[str, str, int, float, float]]
) -> None:
    """A bucket that reserved too much never has more left than one that took the true number at once."""
    world = World(Quota(tpm=tpm), Quota())
    world.play(steps)
    world.end()
    for key in TEAMS:
        told, asker = Admission(), world.asker(key)
        for each in world.admitted:
            if each.asker == asker:
                told.settle(told.admit(asker, 0, each.at), each.tokens, each.at)
        reserved, known = (_weight(each, asker, world.now) for each in (world.admission, told))
        assert reserved >= known - SLACK


def _weight(admission: Admission, asker: Principal, now: float) -> float:
    """What of a key's tokens is not refilled yet."""
    holder = admission.keys.of(asker.key_id, asker.quota, now)
    assert holder is not None
    holder.look(now)
    return holder.tokens.weight


@settings(deadline=None)
@given(QUOTAS, QUOTAS, STEPS)
def test_who_waits_as_long_as_was_said_passes_unless_a_slot_is_still_taken(
    key_quota: Quota, team_quota: Quota, steps: list[tuple[str, str, int, float, float]]
) -> None:
    world = World(key_quota, team_quota)
    world.play(steps)
    for key in TEAMS:
        asker, tokens = world.asker(key), min(50, key_quota.tpm or 50, team_quota.tpm or 50)
        error = world.refusal(asker, tokens)
        if error is not None:
            assert error.passes
            assert error.retry_after is not None
            world.now += error.retry_after
            world.end()
            assert world.refusal(asker, tokens) is None


@settings(deadline=None)
@given(QUOTAS, QUOTAS, STEPS)
def test_law_10_the_same_history_gives_the_same_answers(
    key_quota: Quota, team_quota: Quota, steps: list[tuple[str, str, int, float, float]]
) -> None:
    one, two = World(key_quota, team_quota), World(key_quota, team_quota)
    for world in (one, two):
        world.play(steps)
    assert [each.reservation.tokens for each in one.admitted] == [each.reservation.tokens for each in two.admitted]
    for key in TEAMS:
        told = [world.admission.told(world.asker(key), world.now) for world in (one, two)]
        assert told[0] == told[1]
