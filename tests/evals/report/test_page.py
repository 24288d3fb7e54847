"""The page: well-formed, nothing from a network, hostile text harmless, figures those of the decision, caps told."""

import html
import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest

from evals.decision import Decision, Flips
from evals.gate import decide
from evals.report import content, page
from evals.report.cases import LIMITS, Limits
from evals.report.content import Material
from evals.report.prompts import Found
from gateway.contracts.verdict import MetricResult, Waiver
from tests.evals.report.conftest import NOW

EVIL = "</script></style><script>alert('x')</script><img src=x onerror=alert(1)>&\x00\u202e\x1b[31m"
ONES = {f"s{i:02}": 1.0 for i in range(60)}
NONINFERIOR = {"metric": "exact", "owner": EVIL, "test": "noninferior", "margin": 0.1}
VOID = {"meta", "input", "br", "link", "img"}


class Outline(HTMLParser):
    """Every tag has to be closed in its order; collects tags and attributes."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID and not (self.get_starttag_text() or "").endswith("/>"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not tag == (self.open or [""])[-1]:
            raise AssertionError(f"</{tag}> closes {self.open[-3:]} at {self.getpos()}")
        self.open.pop()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


def outline(text: str) -> Outline:
    found = Outline()
    found.feed(text)
    found.close()
    assert found.open == []
    return found


def seen(text: str) -> str:
    """What a reader sees, more or less."""
    body = re.sub(r"<(style|script|svg|title).*?</\1>", " ", text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


@pytest.fixture
def hostile(make_evidence, make_gate, retold, questions) -> str:
    ids = {EVIL + str(i): float(i > 0) for i in range(30)}
    tags = {each: [EVIL] for each in ids}
    texts = {"text": EVIL, "finish_reason": EVIL, "fingerprint": EVIL, "turns": [EVIL], "release": EVIL}
    ours = retold(make_evidence(ids, tags=tags, system=EVIL, base_url=EVIL), explanation=EVIL, **texts)
    theirs = retold(make_evidence(dict.fromkeys(ids, 1.0), release="faq@1", tags=tags), explanation=EVIL, **texts)
    data = questions(list(ids), input=EVIL, reference=EVIL)
    gate = make_gate(ours, NONINFERIOR)
    decision = decide(gate, ours, theirs, now=NOW, harness=EVIL)
    return page.render(content.of_decision(decision, Material(ours, theirs, Found(data), NOW)))


def test_hostile_text_stays_text(hostile: str) -> None:
    found = outline(hostile)
    assert found.tags.count("script") == 1
    assert "img" not in found.tags
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert seen(hostile).count("<script>alert('x')</script>") >= 10
    assert not set("\x00\u202e\x1b") & set(hostile)
    assert "<U+202E>" in seen(hostile)


def test_nothing_is_asked_of_a_network(hostile: str) -> None:
    found = outline(hostile)
    assert not {"link", "iframe", "object", "base", "form"} & set(found.tags)
    assert all(value.startswith("#") for name, value in found.attributes if name in ("href", "src", "action"))
    assert not re.search(r"url\(|@import", re.findall("<style>(.*?)</style>", hostile, re.DOTALL)[0])
    (policy,) = (value for name, value in found.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "style" not in {name for name, _ in found.attributes}, "the policy forbids styles in attributes"


def rendered(make_evidence, make_gate, candidate, baseline, *metrics, limits: Limits = LIMITS):
    ours = make_evidence(candidate)
    theirs = make_evidence(baseline, release="faq@1")
    gate = make_gate(ours, *(metrics or (NONINFERIOR,)))
    decision = decide(gate, ours, theirs, now=datetime(2026, 11, 22, tzinfo=UTC), harness="t")
    return decision, page.render(
        content.of_decision(decision, Material(ours, theirs, Found(None, "none given"), NOW, limits))
    )


def test_figures_are_those_of_the_decision(make_evidence, make_gate) -> None:
    decision, text = rendered(make_evidence, make_gate, ONES | {"s00": 0.0}, ONES)
    found, said = decision.metrics[0], seen(text)
    assert f"{found.estimate:+.4f}".replace("-", "−") in said
    assert f"{page.signed(found.lower)} to {page.signed(found.upper)}" in said
    assert decision.release_digest in said
    assert found.reason in said
    assert "✓ pass" in said
    assert "faq@2 may be served" in said
    assert "Prompts and references are missing here: none given." in said


def test_what_is_left_out_is_told_with_the_command_that_shows_it(make_evidence, make_gate) -> None:
    few = Limits({"regressed": 3, "improved": 3, "lowest": 3})
    _, text = rendered(make_evidence, make_gate, dict.fromkeys(ONES, 0.0), ONES, limits=few)
    assert "Got worse: 60 samples" in seen(text)
    assert "3 of them are shown" in seen(text)
    assert "57 are left out" in seen(text)
    assert "evals show faq-2.jsonl SAMPLE --baseline faq-1.jsonl" in seen(text)
    assert text.count('<details class="case">') == 3


def test_every_plot_has_a_text_and_every_table_headings(make_evidence, make_gate) -> None:
    absolute = {"metric": "exact", "test": "absolute", "at_least": 0.6}
    _, text = rendered(
        make_evidence, make_gate, ONES | {"s00": "system", "s01": "missing"}, ONES, NONINFERIOR, absolute
    )
    found = outline(text)
    assert text.count("<svg") == text.count('<svg role="img"') == len(re.findall('<svg [^>]*aria-label="[^"]+"', text))
    assert all("<th scope=" in table for table in re.findall("<table.*?</table>", text, re.DOTALL))
    ids = [value for name, value in found.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = {value.removeprefix("#") for name, value in found.attributes if name == "href"}
    assert targets <= set(ids)


def test_a_failed_and_an_invalid_gate_say_so_first(make_evidence, make_gate) -> None:
    _, text = rendered(make_evidence, make_gate, dict.fromkeys(ONES, 0.0), ONES)
    assert "must not be served" in seen(text)
    assert "Counts until" not in seen(text)
    assert "down by 1.000 (from 1.000 to 0.000)" in seen(text)
    missing = ONES | dict.fromkeys([f"s{i:02}" for i in range(50)], "missing")
    _, text = rendered(make_evidence, make_gate, missing, ONES)
    assert "No verdict on faq@2" in seen(text)
    assert "coverage is" in seen(text)


def test_every_kind_of_test_is_told_with_its_figures(material) -> None:
    common: dict[str, Any] = {"verdict": "fail", "reason": "proven worse", "alpha": 0.05, "samples": 60, "clusters": 60}
    kinds: list[dict[str, Any]] = [
        {"metric": "latency", "test": "ratio", "max_ratio": 1.1, "estimate": 1.25, "upper": 1.31, "tier": "supporting"},
        {"metric": "safe", "test": "max_failures", "max_failures": 0, "failures": 2, "estimate": 0.0333, "upper": 0.1},
        {"metric": "exact[golden]", "test": "golden", "max_failures": 0, "failures": 1, "owner": "sales"},
        {"metric": "odd", "test": "absolute", "at_least": 0.5},
    ]
    results = tuple(MetricResult(**common | kind) for kind in kinds)
    decision = Decision(
        "g", "fail", "proven worse", results, flips={"exact[golden]": Flips(("s00",))}, baseline="faq@1"
    )
    text = page.render(content.of_decision(decision, material(ONES | {"s00": 0.0}, ONES)))
    outline(text)
    for words in (
        "1.25 times the baseline; asked for is at most 1.1 times the baseline",
        "2 samples failed; asked for is at most 0 failures",
        "1 golden samples got worse; asked for is at most 0 of the golden samples worse",
        "supporting",
        "unknown to 1.3100",
        "1 of 60",
    ):
        assert words in seen(text)


def test_waivers_are_named(make_evidence, make_gate) -> None:
    ours = make_evidence(ONES)
    decision = decide(make_gate(ours, NONINFERIOR), ours, make_evidence(ONES, release="faq@1"), now=NOW, harness="t")
    view = content.of_decision(decision, Material(ours, None, Found(None), NOW))
    waiver = Waiver(metric="exact", owner=EVIL, reason="a launch", expires=datetime(2026, 12, 1, tzinfo=UTC))
    text = page.render(replace(view, said=replace(view.said, waivers=(waiver,))))
    assert "answers for it until 01 December 2026, 00:00 UTC. a launch" in seen(text)
    outline(text)


def test_the_same_content_gives_the_same_page(make_evidence, make_gate) -> None:
    assert rendered(make_evidence, make_gate, ONES, ONES)[1] == rendered(make_evidence, make_gate, ONES, ONES)[1]


@pytest.mark.parametrize(
    ("share", "text"), [(1.0, "100\u00a0%"), (0.9999, "> 99.9\u00a0%"), (0.5, "50\u00a0%"), (0.0, "0\u00a0%")]
)
def test_all_is_only_said_of_all(share: float, text: str) -> None:
    assert page.percent(share) == text


def test_unknown_figures_are_no_zero() -> None:
    assert (page.number(None), page.signed(None), page.money(None), page.money(Decimal(0))) == (*["unknown"] * 3, "0")


def test_backticks_become_code_and_odd_ones_stay() -> None:
    assert page.coded("run `a <b>` now") == "run <code>a &lt;b&gt;</code> now"
    assert page.coded("one ` <b>") == "one ` &lt;b&gt;"
