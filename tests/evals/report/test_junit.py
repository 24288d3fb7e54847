from xml.etree import ElementTree as Xml

import pytest

from evals.decision import Decision
from evals.report.junit import render
from gateway.contracts.verdict import Answer, MetricResult


def result(answer: Answer, reason: str = "because") -> MetricResult:
    return MetricResult(
        metric="exact", test="absolute", verdict=answer, reason=reason, at_least=0.5, alpha=0.05, samples=9, clusters=9
    )


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
    assert [child.tag for child in case] == ([element] if element else [])


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
