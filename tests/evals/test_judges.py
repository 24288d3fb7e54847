from pathlib import Path

import pytest

from evals import judges
from evals.config import ScorerSpec, SuiteConfig
from evals.judge_config import JudgeConfig
from evals.scorers.judge import Judge, judge_digest
from gateway.contracts.errors import DocumentError, InputError

JUDGE = "judge: {model: judge@3}\nscorer: {name: judge, as: quality, rubric: {file: r.md}}\n"
SUITE = "suite: s\ndataset: d.jsonl\njudge: {model: judge@3}\nscorers:\n"


def suite(*specs: dict[str, object], judge: JudgeConfig | None = None) -> SuiteConfig:
    return SuiteConfig(suite="s", dataset="d", judge=judge, scorers=tuple(ScorerSpec.model_validate(s) for s in specs))


def test_the_judges_of_a_suite_by_metric() -> None:
    made = suite({"name": "exact"}, {"name": "judge", "as": "q", "rubric": "r"}, judge=JudgeConfig(model="judge@3"))
    expected = judge_digest(Judge(rubric="r"), JudgeConfig(model="judge@3").identity())
    assert judges.digests(made) == {"q": expected}
    assert judges.config_of(made) == JudgeConfig(model="judge@3")


def test_a_scorer_may_name_its_judge_itself() -> None:
    made = suite({"name": "judge", "rubric": "r", "model": "judge@3"})
    assert judges.config_of(made) == JudgeConfig(model="judge@3")
    assert list(judges.digests(made)) == ["judge"]
    assert judges.of_suite(made)[0].model == "judge@3"


def test_a_suite_without_a_judge() -> None:
    made = suite({"name": "exact"})
    assert (judges.config_of(made), judges.digests(made)) == (None, {})


@pytest.mark.parametrize("other", [{"name": "exact"}, {"name": "judge", "as": "o", "rubric": "r", "model": "j"}])
def test_a_judge_that_nobody_named_is_a_mistake(other: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"'judge' needs a judge, and the suite names none: add `judge: \{model"):
        judges.digests(suite(other, {"name": "judge", "rubric": "r"}))


def test_a_suites_judge_counts_in_its_digest_and_only_there() -> None:
    spec = {"name": "exact"}
    plain = suite(spec).digest("d")
    assert suite(spec, judge=JudgeConfig(model="j")).digest("d") != plain
    near, far = (suite(spec, judge=JudgeConfig(model="j", base_url=url)).digest("d") for url in (None, "http://x/v1"))
    assert near == far


def test_a_judge_has_a_file_of_its_own_or_is_taken_from_a_suite(tmp_path: Path) -> None:
    (tmp_path / "r.md").write_text("r")
    (tmp_path / "judge.yaml").write_text(JUDGE)
    (tmp_path / "suite.yaml").write_text(SUITE + "  - {name: exact}\n  - {name: judge, as: quality, rubric: r}\n")
    one, two = judges.load(tmp_path / "judge.yaml"), judges.load(tmp_path / "suite.yaml")
    assert (one.metric, one.digest, one.model) == ("quality", two.digest, "judge@3")
    assert isinstance(one.scorer, Judge)
    assert one.scorer.rubric == "r"


def test_of_several_judges_one_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE + "  - {name: judge, as: a, rubric: r}\n  - {name: judge, as: b, rubric: q}\n")
    assert judges.load(path, "b").metric == "b"
    for metric in (None, "c"):
        with pytest.raises(InputError, match="found a, b: choose one with --metric"):
            judges.load(path, metric)


def test_a_file_without_a_judge(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE + "  - {name: exact}\n")
    (tmp_path / "judge.yaml").write_text("judge: {model: j}\nscorer: {name: exact}\n")
    for name in ("suite.yaml", "judge.yaml"):
        with pytest.raises(InputError, match="expected one judge to measure, found none"):
            judges.load(tmp_path / name)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("r.md", "none.md", "no such file"),
        ("rubric", "rubrik", "unknown option 'rubrik'"),
        ("model", "modell", "modell"),
    ],
)
def test_a_mistake_has_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    (tmp_path / "r.md").write_text("r")
    (tmp_path / "judge.yaml").write_text(JUDGE.replace(old, new, 1))
    with pytest.raises(DocumentError, match=expected):
        judges.load(tmp_path / "judge.yaml")
