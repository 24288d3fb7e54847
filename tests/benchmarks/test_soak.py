"""The soak: a few seconds of it with faults that are drawn, and what it says of what it finds."""

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.soak import report
from benchmarks.soak.__main__ import options_of, soak
from benchmarks.soak.checks import Quiet, disagree
from benchmarks.soak.load import Seen
from benchmarks.soak.processes import Taken

GOOD = Seen(200, whole=True)


async def test_a_few_seconds_of_it_hold(tmp_path: Path) -> None:
    """All its kinds of processes, and a handful of faults."""
    found = await soak(options_of(["--minutes", "0.06", "--seed", "2", "--clients", "6"]), tmp_path)
    assert found.wrong == []
    assert len(found.quiets) >= 2
    assert found.quiets[-1].rows > 20
    assert found.words["ok"] > 20
    assert sum(found.faults.values()) >= 1
    assert "Everything held." in report.table(found)
    json.dumps(report.values(found), allow_nan=False)


@pytest.mark.parametrize(
    ("seen", "outcome", "said"),
    [
        (GOOD, "completed", None),
        (GOOD, None, "has no row"),
        (GOOD, "client_closed", "its row says client_closed"),
        (Seen(200, whole=False), None, "has no row"),
        (Seen(200, whole=False), "gateway_lost", None),
        (Seen(200, whole=False, left=True), "client_closed", None),
        (Seen(200, whole=True, code="upstream_failed"), "upstream_failed", None),
        (Seen(502, whole=True, code="upstream_failed"), "upstream_failed", None),
        (Seen(502, whole=True, code="upstream_failed"), None, "has no row"),
        (Seen(502, whole=True, code="upstream_failed"), "completed", "its row says completed"),
        (Seen(429, whole=True, code="rate_limit_exceeded"), None, None),
    ],
)
def test_answers_and_rows_that_disagree_are_told(seen: Seen, outcome: str | None, said: str | None) -> None:
    found = disagree("tg-1", seen, {} if outcome is None else {"tg-1": outcome})
    assert (found is None) == (said is None)
    assert said is None or said in str(found)


def _quiet(at_s: float, mb: float, files: int = 30, wrong: list[str] | None = None) -> Quiet:
    taken = {"gateway-0": Taken(mb, files, 5)}
    return Quiet(at_s, 1.0, 10, 9, 0, 0, 0, taken, {"gateway-0": 1, "gateway-1": 3}, wrong or [])


def _judged(*quiets: Quiet) -> report.Found:
    return report.judged(30, 1, Counter(ok=9), Counter({"kill -9 of redis": 2}), list(quiets))


def test_memory_that_certainly_grows_fails_and_what_comes_and_goes_does_not() -> None:
    steady = _judged(*(_quiet(120.0 * number, 100 + number % 2) for number in range(15)))
    assert steady.good
    assert steady.growth is not None
    assert steady.growth.low < 0 < steady.growth.high
    growing = _judged(*(_quiet(120.0 * number, 100 + number % 2 + 2 * number) for number in range(15)))
    assert growing.growth is not None
    assert 55 < growing.growth.mb_per_hour < 65
    assert "gateway-0 grows" in growing.wrong[0]
    assert report.judged(5, 1, Counter(), Counter(), growing.quiets).good
    assert _judged(*(_quiet(120.0 * number, 100 + 20 * number) for number in range(5))).growth is None


def test_files_that_are_not_closed_fail_and_what_did_not_hold_is_told() -> None:
    found = _judged(_quiet(0, 100), _quiet(120, 100, files=90), _quiet(240, 100, files=90, wrong=["it is not ready"]))
    assert found.wrong[0] == "240 s: it is not ready"
    assert "has 90 files at the end, and had 30" in found.wrong[1]
    text = report.table(found)
    assert "**2 things did not hold.**" in text
    assert "| 240 | 1.0 | 10 | 9 | 0 | 0 | 0 | 100 / 90 / 5 | – |" in text


def test_the_table_stands_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.insert(page, "new")
    assert page.read_text() == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"
