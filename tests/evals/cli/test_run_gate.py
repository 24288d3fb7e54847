"""`evals run --gate`: what the gate could not decide on is refused before anything is sent."""

from pathlib import Path

import pytest
import yaml


@pytest.fixture
def suite(tmp_path: Path, questions: Path, evals) -> Path:
    """A suite, and a gate that can decide on it."""
    path = tmp_path / "suite.yaml"
    path.write_text("suite: numbers\ndataset: questions.jsonl\nscorers: [{name: exact}]\n")
    digest = evals("data", "lint", "questions.jsonl").stdout.rpartition("digest: ")[2].strip()
    metric = {"metric": "exact", "test": "noninferior", "margin": 0.3, "planned_sd": 0.2}
    gate = {"gate": "g", "suite": "numbers", "dataset_sha256": digest, "metrics": [metric]}
    (tmp_path / "gate.yaml").write_text(yaml.safe_dump(gate))
    return path


@pytest.fixture
def asked(serve, parrot) -> tuple[list[dict], str]:
    """Every request that was sent, and where to."""
    seen: list[dict] = []

    def reply(body: dict) -> tuple[int, dict]:
        seen.append(body)
        return parrot(body)

    return seen, serve(reply)


BOTH = ("--model", "faq@2", "--baseline", "faq@1", "--gate", "gate.yaml")


def test_a_run_that_the_gate_can_decide_on_is_made(evals, suite: Path, asked) -> None:
    seen, url = asked
    assert evals("run", suite, *BOTH, "--base-url", url).exit_code == 0
    assert len(seen) == 60


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["in earnest", "dry"])
def test_without_power_nothing_is_sent(evals, suite: Path, asked, dry: tuple[str, ...]) -> None:
    seen, url = asked
    path = suite.parent / "gate.yaml"
    path.write_text(path.read_text().replace("margin: 0.3", "margin: 0.02").replace("exact", "f1"))
    result = evals("run", suite, *BOTH, "--base-url", url, "--limit", 10, *dry)
    assert result.exit_code == 3
    assert "nothing was sent: the gate 'g' could not decide on this run:" in result.stderr
    for reason in ("the suite has no metric 'f1'", "--limit 10 makes a partial run", "f1: planned power is 0."):
        assert reason in result.stderr
    assert seen == []
    assert not Path("runs").exists()


def test_a_gate_that_compares_needs_a_baseline(evals, suite: Path, asked) -> None:
    seen, url = asked
    result = evals("run", suite, "--model", "faq@2", "--gate", "gate.yaml", "--base-url", url)
    assert (result.exit_code, "name the release that is live with --baseline" in result.stderr) == (3, True)
    assert seen == []


def test_the_card_of_a_judge_is_read_beforehand(evals, suite: Path) -> None:
    path = suite.parent / "gate.yaml"
    floor = {"metric": "exact", "card": "card.yaml", "min_tpr": 0.9, "min_tnr": 0.9, "min_kappa": 0.5}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"judges": [floor]}))
    result = evals("run", suite, *BOTH)
    assert (result.exit_code, "card.yaml" in result.stderr) == (3, True)
