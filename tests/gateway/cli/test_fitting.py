"""`gateway simulate fit`: a profile out of looks at an engine, and what cannot be fitted."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.settings import profile
from gateway.simulation.pages import MARK
from tests.gateway.modelled import PROFILE, STEP, Modelled, looks
from tests.gateway.servers import beside


def fit(*options: str) -> Result:
    return CliRunner().invoke(main, ["simulate", "fit", *options])


def told(*options: str) -> str:
    """What a run that fails says."""
    result = fit(*options)
    assert result.exit_code != 0
    return result.output


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "pages.txt"
    path.write_text(looks())
    return path


def test_looks_become_a_profile_that_the_simulator_reads(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "engine.yaml"
    result = fit("--pages", str(saved), "--out", str(out), "--name", "ours", "--gpus", "2", "--max-num-seqs", "64")
    assert result.exit_code == 0, result.output
    found = profile.find(str(out))
    assert (found.name, found.gpus, found.max_num_seqs, found.kv_tokens) == ("ours", 2, 64, PROFILE.kv_tokens)
    assert (found.source, found.model) == ("fitted to pages.txt", None)
    assert found.fitted_at is not None
    assert found.step.base_s == pytest.approx(STEP.base_s, rel=0.2)
    assert found.fit is not None
    assert found.fit.r2 > 0.7
    assert found.fit.ttft_error is None
    assert "59 windows: R² 0." in result.output
    assert "context token" in result.output
    tried = ("--workload", "llm-d", "--policy", "score", "--seconds", "3", "--rate", "5", "--engine", str(out))
    used = CliRunner().invoke(main, ["simulate", *tried])
    assert used.exit_code == 0, used.output
    assert "fitted: R² 0." in used.output


def test_looks_are_saved_and_an_idle_engine_tells_nothing(tmp_path: Path) -> None:
    path = tmp_path / "pages.txt"
    with beside(Modelled().answer) as url:
        found = told("--url", url, "--watch", "1", "--every", "0.2", "--save", str(path))
    assert "expected 6 windows with load or more, found 0" in found
    assert path.read_text().startswith(MARK)
    assert "expected 6 windows with load or more, found 0" in told("--pages", str(path))


def test_a_file_that_cannot_be_written_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    for option in ("--save", "--out"):
        found = told("--url", "http://127.0.0.1:1", "--watch", "600", option, str(tmp_path / "no" / "x"))
        assert f"{option}: '{tmp_path}/no/x' cannot be written: No such file or directory; name another file" in found
    out, pages = tmp_path / "engine.yaml", tmp_path / "pages.txt"
    pages.write_text("kept")
    assert "http://127.0.0.1:1: " in told(
        "--url", "http://127.0.0.1:1", "--watch", "600", "--out", str(out), "--save", str(pages)
    )
    assert (out.exists(), pages.read_text()) == (False, "kept")


def test_looks_that_can_no_longer_be_saved_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with beside(Modelled().answer) as url:
        monkeypatch.setattr("gateway.cli.fitting.passing", lambda pages: [])
        monkeypatch.setattr(Path, "write_text", full)
        found = told("--url", url, "--watch", "1", "--every", "0.2", "--save", str(tmp_path / "pages.txt"))
    assert "cannot be written: No space left on device" in found


def test_an_engine_is_asked_for_its_model_and_its_context() -> None:
    with beside(Modelled().answer) as url:
        assert "no burst fits the model's context of 4096 tokens" in told("--url", url, "--prompt-tokens", "5000")


def test_an_engine_that_is_not_there_is_told() -> None:
    assert "http://127.0.0.1:1: " in told("--url", "http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "name one of --url URL and --pages FILE"),
        (("--url", "http://h:1", "--pages", "x"), "name one of --url URL and --pages FILE"),
        (("--pages", "x", "--save", "y"), "--save keeps the looks of --watch"),
        (("--url", "h:1"), "expected a URL such as http://10.0.0.7:8000"),
        (("--pages", "nowhere.txt"), "nowhere.txt: line 1: no such file"),
    ],
)
def test_what_is_asked_wrongly_is_told(options: tuple[str, ...], message: str) -> None:
    assert message in told(*options)
