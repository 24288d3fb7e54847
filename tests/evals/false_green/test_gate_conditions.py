"""False greens that a mean hides: one test that always fails, a slice that inverts, too few samples to show zero.

Each run passes the gate that looks at the mean alone, and not the one that looks where it hurts.
"""

import json
from datetime import date
from typing import Any

import pytest

from tests.evals.false_green.pairs import NONINFERIOR, PASSED, Pair, scores

TAGS = {key: ["golden"] if i % 20 == 0 else ["lang:de"] if i < 70 else ["lang:en"] for i, key in enumerate(scores())}


def broken(tag: str, count: int) -> dict[str, Any]:
    """Scores of which the first `count` with a tag are wrong."""
    wrong = [key for key, tags in TAGS.items() if tag in tags][:count]
    return {key: 0.0 if key in wrong else 1.0 for key in TAGS}


@pytest.fixture
def compared(pair: Pair):
    """The exit code and the answers by condition, of a candidate against a perfect baseline."""

    def decision(candidate: dict[str, Any], *metrics: dict[str, Any], **gate: Any) -> tuple[int, dict[str, str]]:
        for log in pair.folder.glob("*.jsonl"):
            log.unlink()
        pair.logs(candidate, scores(), tags=TAGS)
        code = pair.gate(*metrics, **gate).exit_code
        found = json.loads(pair.flags("gate.yaml", "--json").stdout)["metrics"]
        return code, {f"{one['metric']} {one['test']}": one["verdict"] for one in found}

    return decision


def test_promptfoo_9066_one_test_that_always_fails(compared) -> None:
    golden = {"metric": "exact", "tag": "golden", "max_regressed": 0}
    assert compared(scores(), NONINFERIOR, golden=golden)[0] == PASSED
    one = broken("golden", 1)
    assert compared(one, NONINFERIOR)[0] == PASSED
    code, answers = compared(one, NONINFERIOR, golden=golden)
    assert (code, answers["exact[golden] golden"]) == (1, "fail")


SLICES = {"tags": ["lang:*"], "metrics": ["exact"], "margin": 0.1, "n_min": 60}


def test_skillopt_174_a_slice_that_inverts(compared) -> None:
    assert compared(scores(), NONINFERIOR, slices=SLICES)[0] == PASSED
    german = broken("lang:de", 9)
    assert compared(german, NONINFERIOR | {"margin": 0.12})[0] == PASSED
    code, answers = compared(german, NONINFERIOR | {"margin": 0.12}, slices=SLICES)
    assert code == 1
    assert answers["exact[lang:en] noninferior"] == "pass"
    assert answers["exact[lang:de] noninferior"] == "fail"


@pytest.mark.parametrize(
    ("slices", "code"),
    [
        (SLICES | {"n_min": 90}, 2),
        (SLICES | {"tags": ["lang:*", "langs:fr"]}, 3),
        (SLICES | {"margin": 0.01}, 2),
    ],
    ids=["open-multi-agent#573-a-slice-below-its-minimum", "mlflow#25013-a-slice-with-a-typo", "a slice without power"],
)
def test_a_slice_that_shows_nothing_is_no_pass(compared, slices: dict[str, Any], code: int) -> None:
    assert compared(scores(), NONINFERIOR, slices=slices)[0] == code


def test_the_rule_of_three_a_few_samples_show_no_zero(compared, pair: Pair) -> None:
    """Nothing failed among 200, and the policy asks for 300: what was not asked shows nothing."""
    counted = {"metric": "exact", "test": "max_failures", "max_failures": 0}
    assert compared(scores(), counted | {"n_min": 200})[0] == PASSED
    assert compared(scores(), counted | {"n_min": 300})[0] == 2
    assert compared(scores(200, 1), counted | {"n_min": 200})[0] == 1
    missing = scores() | {"s007": "missing"}
    assert compared(missing, counted | {"n_min": 200})[0] != PASSED


def test_a_waiver_that_expired_waives_nothing(compared) -> None:
    waived = {"metric": "exact", "owner": "ml", "reason": "known", "expires": date(2099, 1, 1)}
    bad = scores(200, 60)
    assert compared(bad, NONINFERIOR, waivers=[waived])[0] == PASSED
    assert compared(bad, NONINFERIOR, waivers=[waived | {"expires": date(2020, 1, 1)}])[0] == 1
    assert compared(scores() | dict.fromkeys(list(TAGS)[:90], "missing"), NONINFERIOR, waivers=[waived])[0] == 3
