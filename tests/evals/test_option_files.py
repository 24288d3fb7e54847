import hashlib
from pathlib import Path

import pytest

from evals import option_files
from evals.config import load_suite

SUITE = """\
suite: faq
dataset: d.jsonl
scorers:
  - {name: judge, rubric: {file: rubric.md}}
  - {name: pairwise, rubric: better, against: live.jsonl}
"""


def test_a_text_comes_from_the_file_beside_the_suite(tmp_path: Path) -> None:
    (tmp_path / "r.md").write_text("be kind\n")
    assert option_files.filled({"rubric": {"file": "r.md"}, "votes": 3}, tmp_path) == {
        "rubric": "be kind\n",
        "votes": 3,
    }


@pytest.mark.parametrize("value", [{"file": 3}, {"file": "r.md", "more": 1}, {"tone": "file"}, "r.md", ["file"]])
def test_other_values_stay(tmp_path: Path, value: object) -> None:
    assert option_files.filled({"rubric": value}, tmp_path) == {"rubric": value}


def test_a_log_is_bound_by_its_digest(tmp_path: Path) -> None:
    (tmp_path / "live.jsonl").write_bytes(b"log")
    digest = "sha256:" + hashlib.sha256(b"log").hexdigest()
    found = option_files.filled({"against": "live.jsonl"}, tmp_path)
    assert found == {"against": str(tmp_path / "live.jsonl"), "against_sha256": digest}
    assert option_files.named(found) == {"against": "live.jsonl", "against_sha256": digest}
    with pytest.raises(ValueError, match="another run"):
        option_files.filled({"against": "live.jsonl", "against_sha256": "sha256:" + "0" * 64}, tmp_path)


@pytest.mark.parametrize("options", [{"rubric": {"file": "none.md"}}, {"against": "none.jsonl"}])
def test_a_missing_file_is_named(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"none\."):
        option_files.filled(options, tmp_path)


def test_a_suite_is_another_one_when_a_file_changes_and_the_same_elsewhere(tmp_path: Path) -> None:
    digests = []
    for folder, rubric, log in (("a", "x", "1"), ("b", "x", "1"), ("c", "y", "1"), ("d", "x", "2")):
        at = tmp_path / folder
        at.mkdir()
        (at / "suite.yaml").write_text(SUITE)
        (at / "rubric.md").write_text(rubric)
        (at / "live.jsonl").write_text(log)
        suite = load_suite(at / "suite.yaml", lambda spec: None)
        assert suite.scorers[0].options["rubric"] == rubric
        digests.append(suite.digest("sha256:0"))
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
