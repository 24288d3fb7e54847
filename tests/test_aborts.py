"""A small run of the benchmark of clients that leave; the large one is `python -m benchmarks.aborts`."""

from dataclasses import replace

from benchmarks import aborts
from benchmarks.aborts import GROWTH_MIB, Report
from benchmarks.leavers import CONNECTIONS


async def test_two_thousand_clients_leave_and_nothing_is_left() -> None:
    report = await aborts.measure(2000)
    assert report.problems == []
    assert report.rows["client_closed"] > 500
    assert report.rows["completed"] > 100


def test_whatever_is_left_is_named() -> None:
    """Each finding, one at a time, in a report without any other."""
    fine = Report(requests=9, answered=1, in_flight={"a": 0.0}, rows={"completed": 2}, admitted=2)
    assert aborts.judge(fine) == []
    wrong = {
        "1 in flight on a": {"in_flight": {"a": 1.0}},
        "/metrics names no replica": {"in_flight": {}},
        "3 requests are open": {"open_requests": 3.0},
        "engines still work for nobody: [0.0, 1.0]": {"engines_running": [0.0, 1.0]},
        "2 rows and 0 of probes for 3 admitted requests": {"admitted": 3},
        "2 rows: expected from 4 (answered) to 9 (sent)": {"answered": 4},
        "outcomes that nothing here explains: internal_error": {"rows": {"internal_error": 2}},
        f"49 sockets: 0 before, {CONNECTIONS} kept to engines at most": {"sockets": CONNECTIONS + 1},
        f"memory grew by 6.0 MiB, at most {GROWTH_MIB:g}": {"memory": 6.0},
        "the resident set grew by 11.0 MiB, at most 10": {"rss": 11.0},
    }
    for problem, changes in wrong.items():
        assert aborts.judge(replace(fine, **changes)) == [problem]  # type: ignore[arg-type]
