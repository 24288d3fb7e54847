import pytest

from evals.cli.work import work


def test_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with work("near-duplicates") as advance:
        advance(1, 2)
        advance(2, 2)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "near-duplicates" in shown.err
    assert "100%" in shown.err


def test_nothing_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with work("corpus") as advance:
        advance(1, 2)
    assert capsys.readouterr() == ("", "")
