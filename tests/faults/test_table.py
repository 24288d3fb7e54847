"""Each row of the table in `docs/faults.md` has tests that hold it, and none of them may go unnoticed."""

import re

from tests.house import ROOT, hold
from tests.security.test_points import there

HERE, GATE = "tests/faults/", "tests/gateway/"
CUT = HERE + "test_network.py::test_a_cut_network_hangs_nobody_and_all_is_back_when_it_is"
FAILING = HERE + "test_processes.py::test_processes_that_fail_in_any_way_leave_nothing_behind"
SPOOL = HERE + "test_disks.py::test_a_full_spool_refuses_or_serves_as_configured_and_goes_on_when_there_is_room"
FLEET = GATE + "test_app_fleet.py::test_a_fleet_counts_as_one_and_survives_what_it_stands_on"
ROWS: tuple[tuple[str, ...], ...] = (
    (CUT, GATE + "upstreams/test_silent.py::test_a_connection_is_asked_and_given_up_within_seconds"),
    (
        CUT,
        GATE + "stores/test_leadership.py::"
        "test_a_leader_that_stands_still_has_a_successor_and_leads_no_more_when_it_goes_on",
        GATE + "stores/test_dialects.py::"
        "test_the_server_notices_within_half_a_minute_that_a_gateway_is_gone_without_a_word",
    ),
    (CUT, GATE + "stores/test_redis_budgets.py::test_what_was_given_up_is_not_taken_when_it_comes_late"),
    (CUT,),
    (CUT, GATE + "control_plane/test_loops.py::test_a_process_that_ends_waits_for_nobody_for_long"),
    (FAILING,),
    (FAILING, GATE + "test_data_plane_endpoints.py::test_an_engine_that_dies_in_the_middle_is_counted"),
    (FAILING, GATE + "test_relay.py::test_an_error_with_status_200_in_place_of_a_stream_is_that_error"),
    (FAILING,),
    (
        FAILING,
        FLEET,
        GATE + "test_app_killed.py::test_law_a_gateway_killed_under_load_leaves_one_row_each",
        GATE + "test_app_killed.py::test_law_so_does_one_on_postgresql",
    ),
    (FAILING,),
    (
        FAILING,
        FLEET,
        GATE + "test_app_outage.py::test_law_1_an_outage_of_the_database_loses_nothing_and_doubles_nothing",
    ),
    (FAILING, FLEET),
    (SPOOL, GATE + "stores/test_spool_full.py::test_a_full_disk_may_be_served_on_with_rows_in_memory"),
    (HERE + "test_disks.py::test_a_full_disk_of_the_database_file_keeps_rows_waiting",),
    (
        HERE + "test_clock.py::test_a_clock_that_jumps_moves_what_is_dated_and_nothing_else",
        GATE + "policy/test_budgets.py::test_a_clock_that_steps_back_over_an_edge_finds_the_former_counter",
        GATE + "policy/test_limits.py::test_a_clock_that_stands_or_goes_back_refills_nothing",
        GATE + "costs/test_closing.py::test_a_row_that_comes_late_has_every_hour_that_it_reaches_closed_again",
        GATE + "stores/test_rentals.py::test_no_rental_is_negative_and_none_overlaps_on_any_clock",
    ),
)
"""By the numbers of the table."""


def test_every_row_of_the_document_is_held_by_tests_that_are_there() -> None:
    text = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
    assert [int(each) for each in re.findall(r"^\| (\d+) ", text, re.MULTILINE)] == [*range(1, len(ROWS) + 1)]
    hold([f"{test}: gone, and held row {at}" for at, row in enumerate(ROWS, 1) for test in row if not there(test)])


def test_the_document_names_the_files_that_are_there() -> None:
    text = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", text))
    here = {test.partition("::")[0] for row in ROWS for test in row if test.startswith(HERE)}
    assert here <= named
    hold([each for each in sorted(named) if not (ROOT / each).exists()])
