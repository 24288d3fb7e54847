from xml.etree import ElementTree as Xml

import pytest

from evals.decision import Decision
from evals.report.junit import render
from gateway.contracts.verdict import Answer, MetricResult


def result(answer: Answer, reason: str = "because", **more: str) -> MetricResult:
    fixed = {"metric": "exact", "test": "absolute", "at_least": 0.5, "alpha": 0.05, "samples": 9, "clusters": 9}
    return MetricResult.model_validate(fixed | {"verdict": answer, "reason": reason} | more)


@pytest.mark.parametrize(
    ("answer", "element", "failures", "errors"),
    [
        ("pass", None, "0", "0"),
        ("fail", "failure", "1", "0"),
        ("inconclusive", "failure", "1", "0"),
        ("invalid", "error", "0", "1"),
    ],
)
def test_only_a_pass_is_green(answer: Answer, element: str | None, failures: str, errors: str) -> None:
    suite = Xml.fromstring(render(Decision("g", answer, "because", (result(answer),), release="faq@2")))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", failures, errors)
    (case,) = suite.findall("testcase")
    assert case.get("name") == "exact absolute"
    assert [child.tag for child in case if child.tag != "properties"] == ([element] if element else [])


@pytest.mark.parametrize(
    ("answer", "tier", "element"),
    [
        ("waived", "critical", "skipped"),
        ("fail", "supporting", "failure"),
        ("inconclusive", "supporting", "skipped"),
        ("fail", "advisory", "skipped"),
        ("invalid", "advisory", "error"),
    ],
)
def test_what_blocks_nothing_is_skipped_with_its_reason(answer: Answer, tier: str, element: str) -> None:
    rows = (result("pass"), result(answer, owner="sre", tier=tier))
    suite = Xml.fromstring(render(Decision("g", "pass", "because", rows, release="faq@2")))
    counts = {name: suite.get(name) for name in ("failures", "errors", "skipped")}
    names = {"failure": "failures", "error": "errors", "skipped": "skipped"}
    assert counts == {name: str(int(name == names[element])) for name in counts}
    found = suite.findall("testcase")[1]
    said = found.find(element)
    assert said is not None
    assert (said.get("type"), said.get("message")) == (answer, "because")
    assert {p.get("name"): p.get("value") for p in found.iter("property")} == {"owner": "sre", "tier": tier}


def test_a_decision_without_metrics_is_an_error_not_an_empty_suite() -> None:
    suite = Xml.fromstring(render(Decision("g", "invalid", "mixed", (), problems=("mixed",))))
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")


def test_a_problem_shows_beside_metrics_that_pass() -> None:
    suite = Xml.fromstring(render(Decision("g", "invalid", "x", (result("pass"),), problems=("coverage",))))
    assert [case.get("name") for case in suite.findall("testcase")] == ["exact absolute", "evidence"]
    assert suite.get("errors") == "1"


def test_characters_that_xml_has_not_are_replaced() -> None:
    suite = Xml.fromstring(render(Decision("g", "fail", "", (result("fail", "a\x00b <&> \ud800"),))))
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.text == "a\ufffdb <&> \ufffd"
