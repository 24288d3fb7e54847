"""The thirteen ways in which gateways were broken, each with the tests that hold it. None may go unnoticed.

`docs/security.md` says what each boundary guarantees, in the same order.
"""

import ast
import re

import pytest

from tests.house import ROOT, hold, tree

HERE, GATE = "tests/security/", "tests/gateway/"
POINTS: dict[str, tuple[str, ...]] = {
    "1 nothing a client writes chooses the upstream": (
        HERE + "test_upstreams.py::test_no_field_of_a_body_leads_elsewhere",
        HERE + "test_upstreams.py::test_no_header_leads_elsewhere_and_none_of_a_clients_passes",
        HERE + "test_upstreams.py::test_the_gateway_itself_fetches_no_media",
        HERE + "test_upstreams.py::test_an_engines_redirect_is_not_followed",
        HERE + "test_code.py::test_few_files_reach_the_network",
        GATE + "test_app.py::test_no_header_chooses_the_upstream_or_reaches_it",
        GATE + "test_app_routes.py::test_an_absolute_url_names_no_other_host",
        GATE + "upstreams/test_litellm_errors.py::test_a_client_chooses_neither_address_nor_key",
        GATE + "control_plane/test_engine.py::test_an_engine_is_started_awaited_and_stopped",
    ),
    "2 who may ask is decided on the path as it was written": (
        HERE + "test_paths.py::test_without_a_key_nothing_is_open_but_what_is_said_to_be",
        HERE + "test_paths.py::test_with_a_key_only_an_exact_path_is_answered_and_only_it_is_forwarded",
        HERE + "test_paths.py::test_every_endpoint_is_one_and_refuses_who_has_no_key",
        GATE + "test_app_routes.py::test_near_misses_are_denied",
        GATE + "test_app_routes.py::test_paths_of_engines_are_denied",
        GATE + "server/test_protocol_direct.py::test_who_asks_decides_on_the_path_as_it_was_written",
        GATE + "control_plane/test_api.py::test_a_path_is_told_as_it_was_asked_for_whatever_the_host_says",
    ),
    "3 what is the gateway's own is not taken from clients": (
        HERE + "test_upstreams.py::test_no_header_leads_elsewhere_and_none_of_a_clients_passes",
        HERE + "test_upstreams.py::test_an_engines_headers_do_not_reach_the_client",
        GATE + "policy/test_request_wires.py::test_dangerous_fields_pass_nowhere",
        GATE + "policy/test_request_wires.py::test_dangerous_fields_do_not_pass_in_a_form",
        GATE + "policy/test_request_wires.py::test_what_moves_caches_does_not_pass_as_an_extra_argument",
        GATE + "test_data_plane_endpoints.py::test_a_refused_field_reaches_no_engine",
        GATE + "upstreams/test_vllm.py::test_a_request_is_exactly_these_bytes",
    ),
    "4 text of a client is one line and no label": (
        HERE + "test_headers.py::test_a_control_character_in_a_header_is_refused",
        HERE + "test_headers.py::test_no_text_of_a_client_begins_a_header_or_another_answer",
        HERE + "test_headers.py::test_a_tag_is_printable_text_or_refused",
        HERE + "test_headers.py::test_no_text_of_a_client_is_a_label",
        GATE + "server/test_head.py::test_a_value_never_ends_its_line",
        GATE + "test_telemetry.py::test_law_9_labels_are_the_gateways_own",
    ),
    "5 keys are hashed, compared in constant time, ended within a second and told once": (
        HERE + "test_keys.py::test_a_key_is_in_no_answer_log_metric_file_or_representation",
        HERE + "test_keys.py::test_what_is_stored_opens_nothing",
        HERE + "test_keys.py::test_a_process_prints_no_key_but_the_first_and_that_once",
        HERE + "test_code.py::test_secrets_are_compared_in_constant_time",
        GATE + "policy/test_auth.py::test_an_unknown_id_and_a_wrong_secret_get_the_same_answer",
        GATE + "policy/test_auth.py::test_a_wrong_secret_does_not_tell_that_the_key_was_revoked",
        GATE + "policy/test_auth.py::test_one_other_character_is_another_key",
        GATE + "stores/test_keys.py::test_the_text_is_stored_nowhere",
        GATE + "test_app.py::test_a_revoked_key_is_refused_at_the_next_refresh",
        GATE + "cli/test_serve_workers.py::test_every_worker_hears_of_keys_and_configurations",
        GATE + "cli/test_check.py::test_law_9_no_secret_is_printed",
    ),
    "6 prompts and answers are written nowhere": (
        HERE + "test_silence.py::test_prompts_and_answers_are_written_nowhere",
        HERE + "test_silence.py::test_a_refusal_says_nothing_of_a_body_again",
        HERE + "test_silence.py::test_a_process_prints_nothing_of_its_requests",
        GATE + "policy/test_request.py::test_law_9_a_refusal_does_not_repeat_the_body",
        GATE + "policy/test_multipart.py::test_law_9_a_refusal_does_not_repeat_the_body",
        GATE + "upstreams/test_litellm_errors.py::test_nothing_of_a_request_is_logged",
    ),
    "7 nothing administrative is open, and no file runs": (
        HERE + "test_closed.py::test_the_pages_are_these_and_each_only_reads",
        HERE + "test_closed.py::test_no_method_on_any_path_changes_anything_for_anybody",
        HERE + "test_closed.py::test_what_administrators_of_other_gateways_ask_for_is_not_there",
        HERE + "test_closed.py::test_an_admins_key_is_told_more_and_may_no_more",
        HERE + "test_closed.py::test_without_a_single_key_nobody_is_let_in",
        HERE + "test_admin.py::test_without_its_part_of_a_configuration_there_is_no_such_port",
        HERE + "test_admin.py::test_no_text_is_a_token_but_one",
        HERE + "test_admin.py::test_a_token_to_read_changes_nothing_with_any_method_on_any_page",
        HERE + "test_admin.py::test_no_page_tells_a_secret",
        GATE + "admin/test_guard.py::test_without_a_token_nothing_is_told_not_even_what_there_is",
        GATE + "admin/test_guard.py::test_a_browsers_request_for_another_site_is_refused",
        GATE + "admin/test_guard.py::test_a_change_is_in_the_log_with_who_and_what_and_no_secret_is",
        GATE + "admin/test_handlers.py::test_a_release_is_promoted_by_its_gate_alone",
        GATE + "cli/test_admin_port.py::test_a_gateway_without_it_loads_nothing_of_it",
        HERE + "test_closed.py::test_a_file_that_explodes_is_a_mistake_with_its_line",
        HERE + "test_closed.py::test_so_it_is_wherever_it_stands",
        HERE + "test_code.py::test_no_text_is_run",
        HERE + "test_code.py::test_nothing_is_unpickled",
        HERE + "test_code.py::test_modules_are_loaded_by_name_in_a_few_tables_alone",
        GATE + "contracts/test_documents.py::test_deep_nesting_is_a_document_error",
        GATE + "contracts/test_documents.py::test_tags_are_refused_and_run_nothing",
        GATE + "contracts/test_documents.py::test_a_huge_file_is_refused_before_it_is_parsed",
        GATE + "settings/test_conditions.py::test_a_condition_has_an_end",
    ),
    "8 one request is one request, and no small body is large": (
        HERE + "test_smuggling.py::test_a_request_in_an_ambiguous_frame_is_none",
        HERE + "test_smuggling.py::test_nothing_after_what_is_no_http_is_read",
        HERE + "test_smuggling.py::test_a_body_is_a_body_whatever_is_in_it",
        HERE + "test_smuggling.py::test_http_1_0_gets_one_answer_and_no_chunks",
        HERE + "test_smuggling.py::test_the_model_that_is_authorised_is_the_one_that_is_asked_for",
        HERE + "test_smuggling.py::test_what_is_packed_is_not_unpacked",
        HERE + "test_smuggling.py::test_depth_ends_nothing",
        HERE + "test_smuggling.py::test_a_body_is_counted_and_not_believed",
        HERE + "test_smuggling.py::test_a_huge_number_ends_nothing",
        GATE + "server/test_reader.py::test_what_is_ambiguous_or_no_http_is_refused",
        GATE + "server/test_reader.py::test_a_head_is_bounded_to_the_byte",
        GATE + "server/test_protocol_fuzz.py::test_requests_cut_anywhere_have_the_same_answers",
        GATE + "policy/test_request.py::test_of_a_duplicate_key_the_last_one_counts_everywhere",
        GATE + "policy/test_multipart.py::test_what_two_readers_could_read_in_two_ways_is_refused",
    ),
    "9 who is slow costs little, and not for ever": (
        GATE + "cli/test_serving_idle.py::test_ten_thousand_idle_connections_lapse_while_others_are_served",
        HERE + "test_slow.py::test_who_drips_is_answered_and_let_go",
        HERE + "test_slow.py::test_who_does_not_read_a_stream_is_cut_and_holds_no_more_than_a_buffer",
        HERE + "test_slow.py::test_a_stream_that_never_ends_has_an_end",
        GATE + "server/test_protocol.py::test_what_waits_is_bounded",
        GATE + "server/test_cycle_client.py::test_a_body_that_drips_is_not_waited_for_longer",
        GATE + "test_client.py::test_a_body_in_the_smallest_pieces_takes_no_more_memory_than_it_is_large",
        GATE + "test_relay.py::test_a_client_that_does_not_read_is_cut_and_its_engine_freed",
    ),
    "10 no number, burst, departure or clock overspends": (
        GATE + "test_data_plane_numbers.py::test_a_bad_number_is_a_clear_400_and_reaches_nothing",
        GATE + "test_data_plane_numbers.py::test_the_largest_number_that_passes_overflows_no_reservation",
        GATE + "test_data_plane_budgets.py::test_law_2_five_hundred_requests_at_once_on_one_process",
        GATE + "test_data_plane_budgets.py::test_law_2_two_gateways_share_what_is_left_in_redis",
        GATE + "test_data_plane_budgets.py::test_official_clients_do_not_ask_again_for_what_is_spent",
        GATE + "test_data_plane_endpoints.py::test_a_client_that_leaves_in_the_middle_is_counted",
        GATE + "test_data_plane_health.py::test_retries_end_with_their_budget_and_the_attempts_own_error_is_given",
        GATE + "policy/test_budgets.py::test_a_clock_that_steps_back_over_an_edge_finds_the_former_counter",
        GATE + "policy/test_limits.py::test_a_clock_that_stands_or_goes_back_refills_nothing",
        GATE + "policy/test_limits_laws.py::test_no_key_and_no_team_ever_takes_more_than_its_limits",
    ),
    "11 one team's is not another's": (
        HERE + "test_tenants.py::test_a_key_sees_its_own_usage_whatever_it_asks_for",
        HERE + "test_tenants.py::test_no_answer_of_another_is_gone_on_with",
        HERE + "test_tenants.py::test_nothing_is_kept_that_an_id_could_name",
        HERE + "test_tenants.py::test_a_clients_salt_reaches_the_engine_as_it_came",
        HERE + "test_tenants.py::test_the_same_question_is_answered_by_the_engine_again",
        HERE + "test_tenants.py::test_a_model_that_a_key_may_not_use_is_not_there",
        GATE + "control_plane/test_api_usage.py::test_each_key_sees_its_own_sums_and_no_others",
        GATE + "policy/test_request_wires.py::test_the_gateway_keeps_no_responses",
        GATE + "policy/test_tagging.py::test_a_client_adds_tags_and_changes_none",
    ),
    "12 no text becomes SQL": (
        HERE + "test_keys.py::test_no_string_is_a_key_but_one",
        HERE + "test_keys.py::test_no_parameter_of_a_page_is_a_query",
        HERE + "test_keys.py::test_a_key_that_is_looked_up_is_looked_up_as_bytes",
        HERE + "test_code.py::test_sql_is_made_of_tables_and_constants",
        GATE + "policy/test_auth.py::test_no_bytes_are_anything_but_an_invalid_key",
        GATE + "stores/test_keys.py::test_text_is_stored_as_text",
    ),
    "13 what is installed is what was locked": (
        HERE + "test_supply_chain.py::test_every_line_of_a_lock_has_its_hashes",
        HERE + "test_supply_chain.py::test_what_make_installs_is_checked_by_hash",
        HERE + "test_supply_chain.py::test_packages_of_node_have_their_hashes",
        HERE + "test_supply_chain.py::test_actions_are_commits",
        HERE + "test_supply_chain.py::test_no_file_of_the_packages_runs_by_itself",
        HERE + "test_supply_chain.py::test_the_wheel_holds_the_two_packages_and_nothing_else",
        "tests/test_ci_templates.py::test_github_has_no_more_rights_than_it_uses",
    ),
}


def there(test: str) -> bool:
    """Whether a file has a test of that name which is run."""
    path, _, named = test.partition("::")
    if not (ROOT / path).exists():
        return False
    defined = [node for node in tree(ROOT / path).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    (found,) = [node for node in defined if node.name == named] or [None]
    marks = [] if found is None else [ast.unparse(each) for each in found.decorator_list]
    return found is not None and not any("mark.skip" in each or "mark.xfail" in each for each in marks)


@pytest.mark.parametrize("point", POINTS)
def test_each_point_is_held_by_tests_that_are_there(point: str) -> None:
    assert len(POINTS[point]) == len(set(POINTS[point])) >= 4
    hold([f"{test}: gone, and held {point!r}" for test in POINTS[point] if not there(test)])


def test_a_test_that_is_gone_would_be_missed() -> None:
    assert not there(HERE + "test_points.py::test_of_nothing")
    assert not there(HERE + "test_gone.py::test_of_nothing")
    assert there(HERE + "test_points.py::test_a_test_that_is_gone_would_be_missed")


def test_there_are_thirteen_and_the_document_names_each() -> None:
    assert [int(point.split()[0]) for point in POINTS] == list(range(1, 14))
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", text))
    assert {test.partition("::")[0] for tests in POINTS.values() for test in tests if test.startswith(HERE)} <= named
    hold([each for each in sorted(named) if not (ROOT / each).exists()])
    rows = re.findall(r"^\| (\d+) \|", text, re.MULTILINE)
    assert [int(each) for each in rows] == list(range(1, 14))
