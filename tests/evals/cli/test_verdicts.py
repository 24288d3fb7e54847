from pathlib import Path

import pytest

from evals import run_log


@pytest.fixture
def gate(tmp_path: Path, make_log) -> Path:
    scores = {f"s{i:03}": 0.0 if i < 5 else 1.0 for i in range(100)}
    make_log(tmp_path / "base.jsonl", scores, release="faq@1")
    make_log(tmp_path / "good.jsonl", scores, release="faq@2")
    digest = run_log.read(tmp_path / "base.jsonl").manifest.dataset_sha256
    path = tmp_path / "gate.yaml"
    path.write_text(
        f"gate: faq-release\nsuite: faq\ndataset_sha256: {digest}\nmetrics:\n"
        "  - {metric: exact, test: absolute, at_least: 0.6}\n"
    )
    return path


def test_a_signature_of_a_stranger_is_refused(evals, gate: Path) -> None:
    evals("keys", "--private", "a.pem", "--public", "a.pub")
    evals("keys", "--private", "b.pem", "--public", "b.pub")
    evals("gate", gate, "--baseline", "base.jsonl", "--candidate", "good.jsonl", "--sign-with", "a.pem")
    result = evals("verify", "verdicts/faq@2.dsse.json", "--key", "b.pub")
    assert result.exit_code == 3
    assert "no trusted key" in result.stderr


def test_a_verdict_that_is_not_signed_is_told_from_one_that_is(evals, gate: Path) -> None:
    evals("keys", "--private", "a.pem", "--public", "a.pub")
    Path("faq@2.verdict.json").write_text('{"verdict": "pass"}')
    result = evals("verify", "faq@2.verdict.json", "--key", "a.pub")
    assert result.exit_code == 3
    assert "'faq@2.verdict.json': no signed verdict (a DSSE envelope; no 'payload')" in result.stderr
    assert "RELEASE.dsse.json" in result.stderr


def test_a_split_without_a_data_set_is_no_check(evals, gate: Path) -> None:
    evals("keys", "--private", "a.pem", "--public", "a.pub")
    evals("gate", gate, "--baseline", "base.jsonl", "--candidate", "good.jsonl", "--sign-with", "a.pem")
    result = evals("verify", "verdicts/faq@2.dsse.json", "--key", "a.pub", "--split", "test")
    assert result.exit_code == 3
    assert "--split is of a data set: give --dataset too" in result.stderr


def test_keys_are_never_overwritten(evals, tmp_path: Path) -> None:
    assert evals("keys", "--private", "a.pem", "--public", "a.pub").exit_code == 0
    before = Path("a.pem").read_bytes()
    assert evals("keys", "--private", "a.pem", "--public", "c.pub").exit_code == 3
    assert Path("a.pem").read_bytes() == before


@pytest.mark.parametrize(("private", "public"), [("no/a.pem", "a.pub"), ("a.pem", "no/a.pub")])
def test_half_a_pair_is_not_left_behind(evals, private: str, public: str) -> None:
    result = evals("keys", "--private", private, "--public", public)
    assert result.exit_code == 3
    named = max(private, public, key=len)
    assert f"'{named}' cannot be written: No such file or directory; name a file in a folder" in result.stderr
    assert not list(Path().iterdir())
