"""A decision as JUnit XML: one test case for each condition, so that a CI system shows which one stopped a release.

`inconclusive` is a failure there, for a release without enough evidence is not released; `invalid` is an error. What
was waived, and what blocks nothing by its tier, is skipped, with its reason. Owner and tier are properties.
"""

import re
from xml.etree import ElementTree as Xml

from evals.decision import Decision
from gateway.contracts.verdict import MetricResult

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(decision: Decision) -> str:
    """The XML document."""
    suite = Xml.Element("testsuite", name=_clean(f"{decision.gate} {decision.release or ''}".strip()))
    for result in decision.metrics:
        case = _case(suite, f"{result.metric} {result.test}", {"owner": result.owner, "tier": result.tier})
        if (element := _element(result)) is not None:
            _say(case, element, result.verdict, result.reason)
    if decision.problems or not decision.metrics:
        _say(_case(suite, "evidence", {}), "error", "invalid", "\n".join(decision.problems) or decision.reason)
    suite.set("tests", str(len(suite)))
    for name, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(len(suite.findall(f"testcase/{element}"))))
    Xml.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(suite, encoding="unicode") + "\n"


def _element(result: MetricResult) -> str | None:
    if result.verdict in ("pass", "invalid"):
        return {"pass": None, "invalid": "error"}[result.verdict]
    holds_up = result.tier == "critical" or (result.tier, result.verdict) == ("supporting", "fail")
    return "failure" if holds_up and result.verdict != "waived" else "skipped"


def _case(suite: Xml.Element, name: str, properties: dict[str, str]) -> Xml.Element:
    case = Xml.SubElement(suite, "testcase", classname=str(suite.get("name")), name=_clean(name))
    known = {key: value for key, value in properties.items() if value}
    if known:
        listed = Xml.SubElement(case, "properties")
        for key, value in known.items():
            Xml.SubElement(listed, "property", name=key, value=_clean(value))
    return case


def _say(case: Xml.Element, element: str, answer: str, reason: str) -> None:
    text = _clean(reason)
    Xml.SubElement(case, element, type=answer, message=text).text = text


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
