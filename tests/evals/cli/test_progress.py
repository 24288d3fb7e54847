import pytest

from evals.cli.progress import RunProgress
from evals.lines import Record
from evals.schema import Outcome


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def record(outcome: Outcome) -> Record:
    return Record(id="a", digest="d", outcome=outcome)


def test_plain_lines_now_and_then_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with RunProgress(100, clock) as progress:
        for second in range(1, 26):
            clock.now = float(second)
            progress(record("scored"))
            progress(record("system_error" if second % 5 == 0 else "harness_error" if second == 1 else "scored"))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "19 of 100 samples, 2/s, 1 system errors, 1 harness errors",
        "39 of 100 samples, 2/s, 3 system errors, 1 harness errors",
        "50 of 100 samples, 2/s, 5 system errors, 1 harness errors",
    ]


def test_a_live_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    clock = Clock()
    with RunProgress(2, clock) as progress:
        for _ in range(2):
            clock.now += 1.0
            progress(record("scored"))
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "1/s, 0 system errors, 0 harness errors" in shown


def test_a_run_that_has_not_begun_has_no_rate() -> None:
    with RunProgress(2, Clock()) as progress:
        assert progress.note() == "0/s, 0 system errors, 0 harness errors"
