import pytest
from pydantic import ValidationError

from evals.judge_config import JudgeConfig, JudgeFloor

FLOOR = {"metric": "quality", "card": "c.yaml", "min_tpr": 0.9, "min_tnr": 0.9, "min_kappa": 0.8}


def test_where_and_how_fast_a_judge_is_asked_is_not_who_it_is() -> None:
    one = JudgeConfig(model="j@1", base_url="http://a/v1", api_key_env="KEY", concurrency=1, max_retries=1, timeout_s=1)
    assert one.identity() == JudgeConfig(model="j@1").identity()
    assert one.identity() == {"model": "j@1", "max_tokens": 1024, "temperature": 0.0, "seed": 0}


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "j@2"},
        {"temperature": 1.0},
        {"seed": 1},
        {"max_tokens": 5},
        {"params": {"top_k": 1}},
        {"release_digest": "sha256:" + "0" * 64},
    ],
)
def test_what_changes_a_verdict_does(changed: dict[str, object]) -> None:
    assert JudgeConfig(**{"model": "j@1"} | changed).identity() != JudgeConfig(model="j@1").identity()


@pytest.mark.parametrize(
    "changed",
    [
        {"model": ""},
        {"temperature": float("nan")},
        {"api_key_env": "a b"},
        {"x": 1},
        {"params": {"n": 2}},
        {"params": {"top_p": float("nan")}},
    ],
)
def test_a_wrong_judge_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        JudgeConfig(**{"model": "j@1"} | changed)


@pytest.mark.parametrize("key", ["metric", "card", "min_tpr", "min_tnr", "min_kappa"])
def test_a_floor_says_what_it_asks_for(key: str) -> None:
    assert JudgeFloor(**FLOOR).max_age == "90d"
    with pytest.raises(ValidationError, match=key):
        JudgeFloor(**{name: value for name, value in FLOOR.items() if name != key})


@pytest.mark.parametrize("changed", [{"min_tpr": 1.1}, {"max_age": "soon"}, {"card_digest": "abc"}, {"min_tprr": 0.9}])
def test_a_wrong_floor_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        JudgeFloor(**FLOOR | changed)
