"""The page on observability has the table of this code."""

import re
from pathlib import Path

from gateway.telemetry import Telemetry

PAGE = Path(__file__).resolve().parents[2] / "docs" / "observability.md"
TABLE = re.compile(r"<!-- metrics -->\n(.*?)<!-- end of metrics -->", re.DOTALL)
NAME = re.compile(r"tollgate_[a-z_]+")


def reference() -> str:
    """The table in Markdown."""
    lines = ["| metric | kind | labels | what it says |", "|---|---|---|---|"]
    for each in Telemetry().table:
        labels = ", ".join(f"`{label}`" for label in each.labels)
        lines.append(f"| `{each.name}` | {each.kind} | {labels} | {each.text} |")
    return "\n".join(lines) + "\n"


def test_the_table_is_the_one_of_the_code() -> None:
    found = TABLE.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None
    assert found[1] == reference(), f"the table of the page is old: put this there\n{reference()}"


def test_the_queries_ask_for_what_there_is() -> None:
    text = TABLE.sub("", PAGE.read_text(encoding="utf-8"))
    known = {each.name for each in Telemetry().table}
    known |= {f"{each.name}_{end}" for each in Telemetry().table for end in ("bucket", "sum", "count")}
    asked = set(NAME.findall(text))
    assert len(asked) > 10
    assert asked <= known
