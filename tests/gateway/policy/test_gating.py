"""Law 6: traffic reaches no release without an unexpired verdict for exactly its digest."""

import itertools
import math
import random
from datetime import timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contracts.verdict import CLOCK_SKEW, Verdict
from gateway.policy.gating import Gate, by_digest, judge, unchanged_until
from tests.gateway.builders import DIGEST, MOMENT, NOW, verdict

OTHER = f"sha256:{'b' * 64}"
ANSWERS = ("pass", "waived", "fail", "inconclusive", "invalid")


def _judge(*verdicts: Verdict, problems: tuple[str, ...] = ()) -> Gate:
    return judge("faq@1", DIGEST, verdicts, problems, MOMENT)


def _at(hours: float, answer: str) -> Verdict:
    return verdict(answer=answer, created=MOMENT + timedelta(hours=hours))


@pytest.mark.parametrize("answer", ["pass", "waived"])
def test_these_answers_open_the_gate(answer: str) -> None:
    gate = _judge(verdict(answer=answer))
    assert (gate.refusal, gate.answer) == (None, answer)
    assert gate.closed(NOW) is None


@pytest.mark.parametrize("answer", ["fail", "inconclusive", "invalid"])
def test_these_answers_keep_it_closed_and_say_why(answer: str) -> None:
    refusal = _judge(verdict(answer=answer)).closed(NOW)
    assert refusal is not None
    assert all(word in refusal for word in ("faq@1", answer, f"because of {answer}"))


def test_no_verdict_at_all_names_the_release_and_what_to_do() -> None:
    refusal = _judge().closed(NOW)
    assert refusal is not None
    assert all(word in refusal for word in ("faq@1", DIGEST, "evals gate"))


def test_a_verdict_about_another_digest_is_no_verdict() -> None:
    refusal = _judge(verdict(OTHER)).closed(NOW)
    assert refusal is not None
    assert "has no verdict" in refusal


def test_files_that_did_not_count_are_named() -> None:
    gate = _judge(problems=("a.dsse.json: altered", "b.dsse.json: stranger"))
    refusal = gate.explained(NOW)
    assert refusal is not None
    assert "a.dsse.json: altered" in refusal
    assert "b.dsse.json: stranger" in refusal
    assert "a.dsse.json" not in (gate.closed(NOW) or ""), "a client learns nothing of files"


def test_a_later_fail_ends_a_pass() -> None:
    assert _judge(_at(-3, "pass"), _at(-2, "fail")).refusal is not None
    assert _judge(_at(-2, "fail"), _at(-3, "pass")).refusal is not None


def test_a_later_pass_ends_a_fail() -> None:
    assert _judge(_at(-3, "fail"), _at(-2, "pass")).refusal is None


def test_an_expired_later_verdict_does_not_revive_an_earlier_one() -> None:
    later = verdict(created=MOMENT - timedelta(hours=2), expires=MOMENT - timedelta(hours=1))
    refusal = _judge(_at(-3, "pass"), later).refusal
    assert refusal is not None
    assert "expired" in refusal


def test_later_is_told_by_the_moment_and_not_by_its_offset() -> None:
    east = timezone(timedelta(hours=9))
    earlier = verdict(created=(MOMENT - timedelta(hours=3)).astimezone(east))
    assert _judge(earlier, _at(-2, "fail")).refusal is not None


def test_of_two_at_the_same_moment_the_refusing_one_counts() -> None:
    gates = [_judge(*order) for order in itertools.permutations([_at(-1, "pass"), _at(-1, "fail")])]
    assert all(gate.refusal is not None for gate in gates)


def test_a_verdict_ends_exactly_when_it_expires() -> None:
    gate = _judge(verdict(expires=MOMENT + timedelta(seconds=10)))
    assert gate.closed(NOW + 9.999) is None
    assert "expired" in (gate.closed(NOW + 10) or "")
    assert "expired" in (_judge(verdict(expires=MOMENT)).closed(NOW) or "")


def test_a_gate_that_knows_no_end_is_closed() -> None:
    assert Gate(None, "pass", None).closed(NOW) is not None


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ANSWERS), st.sampled_from([DIGEST, OTHER])), max_size=6), st.randoms())
def test_only_the_latest_verdict_on_the_digest_decides(made: list[tuple[str, str]], shuffled: random.Random) -> None:
    verdicts = [
        verdict(digest, answer, created=MOMENT - timedelta(hours=100 - at)) for at, (answer, digest) in enumerate(made)
    ]
    about = [answer for answer, digest in made if digest == DIGEST]
    shuffled.shuffle(verdicts)
    assert (_judge(*verdicts).closed(NOW) is None) == (about[-1:] in (["pass"], ["waived"]))


HOURS = st.integers(min_value=-5, max_value=5)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ANSWERS), HOURS, HOURS), max_size=5), HOURS)
def test_until_the_moment_that_is_told_time_alone_changes_no_gate(made: list[tuple[str, int, int]], hour: int) -> None:
    verdicts = [
        verdict(answer=answer, created=MOMENT + timedelta(hours=created), expires=MOMENT + timedelta(hours=expires))
        for answer, created, expires in made
        if expires > created
    ]
    now = MOMENT + timedelta(hours=hour)
    until = unchanged_until(verdicts, now)
    first, *later = [
        judge("faq@1", DIGEST, verdicts, (), moment)
        for moment in (now + timedelta(minutes=minutes) for minutes in range(0, 800, 5))
        if moment.timestamp() < until
    ]
    assert all(gate == first for gate in later)


def test_the_moment_that_is_told_is_when_a_verdict_expires_or_no_longer_lies_in_the_future() -> None:
    ahead = verdict(created=MOMENT + timedelta(hours=1), expires=MOMENT + timedelta(hours=9))
    assert unchanged_until([verdict(OTHER), ahead], MOMENT) == NOW + 3600 - CLOCK_SKEW.total_seconds()
    assert unchanged_until([ahead], MOMENT + timedelta(hours=1)) == NOW + 9 * 3600
    assert unchanged_until([ahead], MOMENT + timedelta(hours=9)) == math.inf
    assert unchanged_until([], MOMENT) == math.inf


def test_verdicts_are_found_by_the_digest_that_they_are_about() -> None:
    made = [verdict(OTHER), verdict(), verdict(answer="fail")]
    assert by_digest(made) == {OTHER: [made[0]], DIGEST: made[1:]}
