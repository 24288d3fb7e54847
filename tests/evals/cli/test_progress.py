from decimal import Decimal

import pytest

from evals.cli.progress import ChunkProgress, RunProgress, told_by
from evals.lines import Record
from evals.schema import Outcome
from tests.evals.bench import Bench, dataset, right


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def told(left: int) -> str:
    return f"{left} to go"


def record(outcome: Outcome) -> Record:
    return Record(id="a", digest="d", outcome=outcome)


def test_plain_lines_now_and_then_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with RunProgress(100, clock, told) as progress:
        for second in range(1, 26):
            clock.now = float(second)
            progress(record("scored"))
            progress(record("system_error" if second % 5 == 0 else "harness_error" if second == 1 else "scored"))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "19 of 100 samples, 2/s, 1 system errors, 1 harness errors, 81 to go, 0:43 left",
        "39 of 100 samples, 2/s, 3 system errors, 1 harness errors, 61 to go, 0:31 left",
        "50 of 100 samples, 2/s, 5 system errors, 1 harness errors, 50 to go, 0:25 left",
    ]


def test_a_live_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    clock = Clock()
    with RunProgress(2, clock, told) as progress:
        for _ in range(2):
            clock.now += 1.0
            progress(record("scored"))
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "1/s, 0 system errors, 0 harness errors, 0 to go" in shown


def test_a_run_that_has_not_begun_has_no_rate() -> None:
    with RunProgress(2, Clock(), told) as progress:
        assert progress.note() == "0/s, 0 system errors, 0 harness errors, 2 to go"


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with RunProgress(1, Clock(), told, quiet=True) as progress:
        progress(record("scored"))
    assert capsys.readouterr() == ("", "")


def test_a_run_tells_its_concurrency_its_spend_and_what_it_will_come_to() -> None:
    run = Bench(right).run(dataset(1), concurrency=32)
    assert told_by(run)(100) == "8 at a time"
    for _ in range(10):
        run.forecast.add(Decimal("0.01"))
    run.spend.spent = Decimal("0.10")
    assert told_by(run)(90) == "8 at a time, 0.10 spent, about 1 [1, 1] in all"
    assert told_by(run)(0) == "8 at a time, 0.10 spent"


def test_chunks_are_counted_in_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with ChunkProgress(1000, clock) as progress:
        for second in range(1, 25):
            clock.now = float(second)
            progress(10)
    assert capsys.readouterr().err.splitlines() == ["100 of 1000 chunks", "200 of 1000 chunks"]


def test_chunks_have_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with ChunkProgress(3, Clock()) as progress:
        progress(2)
        progress(1)
    shown = capsys.readouterr().err
    assert "chunks" in shown
    assert "3/3" in shown
