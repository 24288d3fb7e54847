"""The page in a real browser, as wide as a desk and as narrow as a phone."""

from pathlib import Path

import pytest

from evals.gate import decide
from evals.report import content, page
from evals.report.content import Material
from evals.report.prompts import Found
from tests.evals.report import browser
from tests.evals.report.conftest import NOW

pytestmark = pytest.mark.skipif(browser.BROWSER is None, reason="no Chromium on this machine: install chromium")

LONG = "w" * 300


@pytest.fixture
def shown(tmp_path: Path, make_evidence, make_gate, retold, questions) -> Path:
    """Forty samples with long words, long ids and long tags, which nothing can break well."""
    ids = {f"{LONG}{i}": float(i > 4) for i in range(40)}
    tags = {each: [LONG, "short"] for each in ids}
    ours = retold(make_evidence(ids, tags=tags), text=f"answer {LONG} needle", explanation=LONG)
    theirs = retold(make_evidence(dict.fromkeys(ids, 1.0), release="faq@1", tags=tags), text=LONG)
    metric = {"metric": "exact", "owner": LONG, "test": "noninferior", "margin": 0.1}
    decision = decide(make_gate(ours, metric), ours, theirs, now=NOW, harness=LONG)
    data = questions(list(ids), input=LONG)
    path = tmp_path / "page.html"
    path.write_text(
        page.render(content.of_decision(decision, Material(ours, theirs, Found(data), NOW))), encoding="utf-8"
    )
    return path


async def test_no_width_makes_the_page_scroll_sideways_and_nothing_complains(shown: Path) -> None:
    async with browser.tab() as tab:
        for width in (390, 700, 1280):
            await tab.open(shown.as_uri(), width)
            await tab.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            assert await tab.value("innerWidth") == width
            assert await tab.value("document.documentElement.scrollWidth") <= width
        assert tab.complaints == []


async def test_the_script_finds_samples_and_the_style_is_allowed(shown: Path) -> None:
    async with browser.tab() as tab:
        await tab.open(shown.as_uri(), 1280, dark=True)
        assert await tab.value("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
        find = "const i = document.getElementById('seek'); i.value = '{}'; i.dispatchEvent(new Event('input'));"
        count = "document.querySelectorAll('.case:not([hidden])').length"
        assert await tab.value(count) == 5
        await tab.value("{" + find.replace("{}", "no such word") + "}")
        assert await tab.value(count) == 0
        await tab.value("{" + find.replace("{}", "NEEDLE answer") + "}")
        assert await tab.value(count) == 5
        assert await tab.value("document.querySelector('output').textContent") == "5 of 5 shown"
        assert tab.complaints == []


async def test_ink_and_ground_differ_enough_in_light_and_dark(shown: Path) -> None:
    """WCAG 2.1's contrast ratio of at least 4.5, for every element that holds text of its own."""
    script = """(() => {
      const light = (text) => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((c) => c / 255)
        .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const ground = (one) => { while (one) { const found = getComputedStyle(one).backgroundColor;
        if (!/, 0\\)$|transparent/.test(found)) return found; one = one.parentElement; } return 'rgb(255, 255, 255)'; };
      const bad = new Set();
      for (const one of document.querySelectorAll('main *:not(svg *)')) {
        if (![...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
        const [a, b] = [light(getComputedStyle(one).color), light(ground(one))].sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.5) bad.add(one.tagName + '.' + one.className);
      }
      return [...bad];
    })()"""
    async with browser.tab() as tab:
        for dark in (False, True):
            await tab.open(shown.as_uri(), 1280, dark=dark)
            await tab.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            assert await tab.value(script) == []
