"""The documents: what they show as code says what the code says, and what they link to is there."""

import doctest
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(#([^)]*)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def documents() -> list[Path]:
    return sorted(DOCS.glob("*.md"))


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.stem)
def test_the_examples_say_what_the_code_says(path: Path) -> None:
    """The blocks of a page go on one after the other."""
    found = "\n".join(BLOCK.findall(path.read_text(encoding="utf-8")))
    example = doctest.DocTestParser().get_doctest(found, {}, path.stem, str(path), 0)
    told: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(example, out=told.append)
    assert runner.failures == 0, "".join(told)


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.stem)
def test_the_links_inside_of_a_page_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert set(LINK.findall(text)) <= {anchor(each) for each in HEADING.findall(text)}


def test_the_page_on_gpu_costs_has_its_examples() -> None:
    assert len(BLOCK.findall((DOCS / "gpu-costs.md").read_text(encoding="utf-8"))) == 3
