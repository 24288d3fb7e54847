"""Capacity on paper: the page shows what the arithmetic says, and the arithmetic adds up."""

from pathlib import Path

from benchmarks import scale

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scale.md"


def test_the_page_shows_what_the_script_prints() -> None:
    assert scale.page() in PAGE.read_text(encoding="utf-8")


def test_ten_times_the_streams_need_ten_times_the_work_and_gateways_to_match() -> None:
    one, ten = scale.Model().need(1_000), scale.Model().need(10_000)
    assert ten.cores == 10 * one.cores
    assert (ten.rows, ten.open_streams, ten.budget_scripts) == (10_000, 100_000, 20_000)
    assert one.gateways * scale.BUSY >= one.cores > (one.gateways - 1) * scale.BUSY
    assert scale.Model(tokens=0).need(1_000).cores < one.cores / 100, "a stream's cost is that of its chunks"
