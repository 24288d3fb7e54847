from pathlib import Path

import pytest

from evals import scorers
from evals.config import ScorerSpec, SuiteConfig, load_suite
from gateway.contracts.errors import DocumentError

DIGEST = "sha256:" + "a" * 64
SUITE = """suite: faq
dataset: heldout.jsonl
params: {temperature: 0, max_tokens: 48}
scorers:
  - {name: exact}
  - {name: regex, as: city, pattern: "Berlin"}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "file.yaml"
    path.write_text(text)
    return path


def suite_mistakes(folder: Path, text: str) -> list[tuple[int, str]]:
    with pytest.raises(DocumentError) as caught:
        load_suite(write(folder, text), scorers.build)
    return [(mistake.line, mistake.message) for mistake in caught.value.mistakes]


def test_a_suite_reads_with_its_defaults(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, SUITE), scorers.build)
    assert [spec.metric for spec in suite.scorers] == ["exact", "city"]
    assert suite.scorers[1].options == {"pattern": "Berlin"}
    assert (suite.epochs, suite.concurrency, suite.max_retries, suite.timeout_s) == (1, 32, 4, 60.0)


def test_an_unknown_scorer_is_named_with_its_line_and_the_nearest_one(tmp_path: Path) -> None:
    ((line, message),) = suite_mistakes(tmp_path, SUITE.replace("name: exact", "name: exakt"))
    assert line == 5
    assert "did you mean 'exact'" in message
    assert "includes, json_schema" in message


def test_a_wrong_option_of_a_scorer_is_named_with_its_line(tmp_path: Path) -> None:
    ((line, message),) = suite_mistakes(tmp_path, SUITE.replace("pattern:", "patern:"))
    assert line == 6
    assert "unknown option 'patern': did you mean 'pattern'?" in message
    assert "missing option 'pattern'" in message


def test_an_unknown_key_of_a_suite_is_named_with_its_line(tmp_path: Path) -> None:
    assert suite_mistakes(tmp_path, SUITE + "epoch: 3\n") == [(7, "unknown key 'epoch': did you mean 'epochs'?")]


def test_two_scorers_of_one_name_need_names_of_their_own(tmp_path: Path) -> None:
    ((_, message),) = suite_mistakes(tmp_path, SUITE + "  - {name: exact}\n")
    assert "two scorers give the metric 'exact'" in message


@pytest.mark.parametrize("key", ["model", "messages", "stream", "n"])
def test_params_leave_the_harness_its_own_keys(tmp_path: Path, key: str) -> None:
    ((line, message),) = suite_mistakes(tmp_path, SUITE.replace("max_tokens", key))
    assert line == 3
    assert key in message


@pytest.mark.parametrize("value", [".nan", "-.inf", "2026-12-01"])
def test_params_that_no_request_holds_are_named_with_their_line(tmp_path: Path, value: str) -> None:
    ((line, message),) = suite_mistakes(tmp_path, SUITE.replace("max_tokens: 48", f"x: {value}"))
    assert (line, "expected what a request can hold" in message) == (3, True)


def test_the_digest_of_a_suite_covers_what_a_score_depends_on() -> None:
    def digest(**changed: object) -> str:
        values = {"suite": "s", "dataset": "f", "scorers": [{"name": "exact"}]} | changed
        return SuiteConfig.model_validate(values).digest(DIGEST)

    assert digest() == digest(concurrency=1, timeout_s=5, max_retries=0, dataset="elsewhere")
    others = [
        digest(params={"temperature": 1}),
        digest(epochs=2),
        digest(system="be brief"),
        digest(scorers=[{"name": "exact", "normalise": False}]),
        digest(suite="t"),
    ]
    assert len({digest(), *others}) == 6


def test_a_scorer_gives_the_metric_of_its_name_or_of_as() -> None:
    assert ScorerSpec(name="exact").metric == "exact"
    assert ScorerSpec.model_validate({"name": "exact", "as": "city"}).metric == "city"


def test_a_split_is_part_of_a_digest_only_where_it_is_set() -> None:
    values = {"suite": "s", "dataset": "f", "scorers": [{"name": "exact"}]}
    whole, part = (SuiteConfig.model_validate(values | more) for more in ({}, {"split": "test"}))
    assert whole.digest(DIGEST) == "sha256:1225d7cac0734fef6eeb2f77215d12e37f941da4c048282b4a6a94de82b213e2"
    assert part.digest(DIGEST) != whole.digest(DIGEST)
