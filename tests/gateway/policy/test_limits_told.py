"""What is told of limits: OpenAI's headers."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts.errors import RateLimited
from gateway.policy.auth import Principal
from gateway.policy.limits import Admission, told
from gateway.settings.limits import Quota
from tests.gateway.builders import principal


def _asker(key_id: str = "k", team: str = "search", *, shared: dict[str, int] | None = None, **own: int) -> Principal:
    """A principal with limits of its own, and those that its team shares."""
    return principal(
        key_id=key_id,
        team=team,
        quota=Quota.model_validate(own) if own else None,
        team_quota=Quota.model_validate(shared) if shared else None,
    )


def _told(admission: Admission, asker: Principal, now: float) -> dict[str, str]:
    lines = admission.told(asker, now).decode().split("\r\n")
    assert lines.pop() == ""
    return {name.removeprefix("x-ratelimit-"): value for name, _, value in (line.partition(": ") for line in lines)}


def test_headers_say_what_is_left_and_when_all_of_it_is_there_again() -> None:
    admission, asker = Admission(), _asker(rpm=600, tpm=6000)
    assert _told(admission, asker, 0.0)["remaining-requests"] == "600"
    admission.admit(asker, 2500, 0.0)
    assert _told(admission, asker, 0.0) == {
        "limit-requests": "600",
        "remaining-requests": "599",
        "reset-requests": "100ms",
        "limit-tokens": "6000",
        "remaining-tokens": "3500",
        "reset-tokens": "25s",
    }
    assert _told(admission, asker, 25.0)["reset-tokens"] == "0s"


def test_headers_tell_the_limit_that_has_the_least_left() -> None:
    admission = Admission()
    asker = _asker(rpm=10, shared={"rpm": 100, "tpm": 50})
    found = _told(admission, asker, 0.0)
    assert (found["limit-requests"], found["limit-tokens"]) == ("10", "50")
    for number in range(95):
        admission.admit(_asker(f"k{number}", shared={"rpm": 100}), 0, 0.0)
    assert (_told(admission, asker, 0.0)["limit-requests"], _told(admission, asker, 0.0)["remaining-requests"]) == (
        "100",
        "5",
    )


@pytest.mark.parametrize(("used", "reset"), [(1, "20ms"), (75, "1.5s"), (3000, "1m0s"), (4525, "1m30.5s"), (0, "0s")])
def test_durations_are_in_go_s_notation(used: int, reset: str) -> None:
    admission, asker = Admission(), _asker(tpm=3000)
    admission.settle(admission.admit(asker, 0, 0.0), used, 0.0)
    found = _told(admission, asker, 0.0)
    assert found["reset-tokens"] == reset
    assert found["remaining-tokens"] == str(max(0, 3000 - used))


@pytest.mark.parametrize(("rpm", "reset"), [(7000, "10ms"), (6000, "10ms"), (5990, "20ms"), (61, "990ms"), (1, "1m0s")])
def test_a_reset_is_rounded_up_to_ten_milliseconds(rpm: int, reset: str) -> None:
    admission, asker = Admission(), _asker(rpm=rpm)
    admission.admit(asker, 0, 0.0)
    assert _told(admission, asker, 0.0)["reset-requests"] == reset


def test_no_header_is_told_of_what_is_not_limited() -> None:
    assert _told(Admission(), _asker(concurrency=3), 0.0) == {}


@given(
    st.sampled_from([{"rpm": 7, "tpm": 900}, {"rpm": 60, "tpm": 100}]),
    st.sampled_from([{}, {"rpm": 9}, {"rpm": 20, "tpm": 700}, {"rpm": 5, "tpm": 5000, "concurrency": 3}]),
    st.lists(st.tuples(st.floats(0.0, 30.0), st.integers(0, 300), st.integers(0, 400)), max_size=30),
)
def test_who_was_just_admitted_is_told_what_asking_anew_would_tell(
    own: dict[str, int], shared: dict[str, int], steps: list[tuple[float, int, int]]
) -> None:
    admission, asker, now = Admission(), _asker(shared=shared or None, **own), 0.0
    for wait, tokens, took in steps:
        now += wait
        with suppress(RateLimited):
            held = admission.admit(asker, tokens, now)
            assert told(held.key, held.team) == admission.told(asker, now)
            admission.settle(held, took, now)


def test_another_limit_of_which_as_much_is_left_is_told_anew() -> None:
    admission = Admission()
    for rpm, tpm in ((60, 1000), (61, 1100)):  # 59 requests and 900 tokens are left each time
        held = admission.admit(_asker(rpm=rpm, tpm=tpm), 100, 0.0)
        lines = told(held.key, held.team).decode()
        assert f"limit-requests: {rpm}\r\nx-ratelimit-remaining-requests: 59\r\n" in lines
        assert f"limit-tokens: {tpm}\r\nx-ratelimit-remaining-tokens: 900\r\n" in lines
