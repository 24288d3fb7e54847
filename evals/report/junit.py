"""A decision as JUnit XML: one test case for each metric, so that a CI system shows which one stopped a release.

`inconclusive` is a failure there, for a release without enough evidence is not released; `invalid` is an error.
"""

import re
from xml.etree import ElementTree as Xml

from evals.decision import Decision
from gateway.contracts.verdict import Answer

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ELEMENTS: dict[Answer, str] = {"fail": "failure", "inconclusive": "failure", "invalid": "error"}


def render(decision: Decision) -> str:
    """The XML document."""
    suite = Xml.Element("testsuite", name=_clean(f"{decision.gate} {decision.release or ''}".strip()))
    counts = {"failure": 0, "error": 0}
    for result in decision.metrics:
        _case(suite, f"{result.metric} {result.test}", result.verdict, result.reason, counts)
    if decision.problems or not decision.metrics:
        _case(suite, "evidence", "invalid", "\n".join(decision.problems) or decision.reason, counts)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(counts["failure"]))
    suite.set("errors", str(counts["error"]))
    Xml.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(suite, encoding="unicode") + "\n"


def _case(suite: Xml.Element, name: str, answer: Answer, reason: str, counts: dict[str, int]) -> None:
    case = Xml.SubElement(suite, "testcase", classname=str(suite.get("name")), name=_clean(name))
    element = _ELEMENTS.get(answer)
    if element is None:
        return
    counts[element] += 1
    Xml.SubElement(case, element, type=answer, message=_clean(reason)).text = _clean(reason)


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
