"""Every row of the fault matrix has its tests: one table, compared with the documentation and the code."""

import importlib
import re
from pathlib import Path

import pytest

KILLS, ANSWERS, TRUTH, WEBHOOKS, RACES = (
    f"tests.matrix.test_{name}" for name in ("kills", "answers", "truth", "webhooks", "races")
)
KILLED = (KILLS, "test_an_operation_whose_process_is_killed_has_one_effect")
NOTIFIED = (KILLS, "test_a_notification_whose_process_is_killed_is_settled_later")
SYNCED = (KILLS, "test_a_sync_whose_process_is_killed_loses_nothing")

ROWS = {
    "SIGKILL before send": [KILLED],
    "SIGKILL after the provider committed, before its answer": [
        KILLED,
        (KILLS, "test_a_process_killed_while_the_gateway_holds_its_request"),
    ],
    "SIGKILL after the answer, before our commit": [
        KILLED,
        SYNCED,
        NOTIFIED,
        (KILLS, "test_the_caller_comes_again_with_the_same_key_after_the_crash"),
        (KILLS, "test_a_recovery_worker_that_is_killed_is_followed_by_the_next"),
    ],
    "SIGKILL after our commit, before observers": [
        KILLED,
        NOTIFIED,
        (KILLS, "test_the_ledger_is_complete_at_every_moment_of_a_killed_lifecycle"),
    ],
    "connection refused": [
        (ANSWERS, "test_a_refused_connection_means_that_nothing_happened_and_may_be_tried_again")
    ],
    "reset or read timeout, committed or not": [
        (ANSWERS, "test_an_answer_that_was_lost_after_the_commit_is_found_out"),
        (ANSWERS, "test_a_request_that_was_lost_before_the_commit_is_unknown_and_sent_again_once"),
        (ANSWERS, "test_a_request_that_is_carried_out_after_we_gave_up_happens_once"),
    ],
    "5xx, committed or not": [
        (ANSWERS, "test_an_answer_that_was_lost_after_the_commit_is_found_out"),
        (ANSWERS, "test_a_request_that_was_lost_before_the_commit_is_unknown_and_sent_again_once"),
    ],
    "408, 409, 429": [(ANSWERS, "test_408_409_and_429_are_never_a_decline")],
    "definite 4xx, cause fixed, retry": [
        (ANSWERS, "test_a_decline_whose_cause_is_fixed_goes_through_under_a_new_key")
    ],
    "retry after the key expired": [
        (ANSWERS, "test_after_the_keys_life_doubt_is_looked_up_and_never_sent_again")
    ],
    "gateway replays a stored 500, 402 or requires_action for a key whose effect happened since": [
        (ANSWERS, "test_the_lookup_decides_against_a_stored_500"),
        (ANSWERS, "test_the_lookup_decides_against_a_stored_requires_action"),
    ],
    "refusal for the object's state": [(ANSWERS, "test_a_refusal_for_the_objects_state_is_looked_up")],
    "browser confirms before, during, after": [
        (TRUTH, "test_a_browser_that_confirms_around_an_operation_leaves_a_ledger_that_equals_the_gateways"),
        (TRUTH, "test_what_a_browser_confirms_beyond_the_limit_is_reported_and_cancelled"),
    ],
    "refund, capture, cancel, chargeback made in the gateway's dashboard": [
        (TRUTH, "test_what_is_done_in_the_dashboard_is_booked_as_the_providers_operation")
    ],
    "pending refund or debit that later fails": [
        (TRUTH, "test_a_pending_refund_that_ends_later_settles_once"),
        (TRUTH, "test_a_debit_that_ends_later_settles_once_and_lets_go_of_the_amount"),
        (TRUTH, "test_a_refund_that_fails_after_it_had_succeeded_is_undone_once"),
    ],
    "two captures of the same amount without a caller's key; with one": [
        (RACES, "test_two_captures_of_one_amount_without_a_callers_key_are_two"),
        (RACES, "test_two_captures_of_one_amount_with_one_callers_key_are_one"),
    ],
    "200 that cannot be read, wrong amount, wrong currency": [
        (ANSWERS, "test_an_answer_that_is_not_what_was_asked_for_settles_nothing_by_itself"),
        (ANSWERS, "test_a_lookup_that_cannot_be_right_is_reported_or_changes_nothing"),
    ],
    'lookup says "not found" soon after a write': [
        (TRUTH, "test_not_found_soon_after_a_write_stays_unknown_through_the_grace_period"),
        (TRUTH, "test_a_lagging_lookup_settles_a_capture_without_keys_once_it_can_know"),
    ],
    "plugin raises, returns None, unknown status": [
        (ANSWERS, "test_a_plugin_that_answers_nothing_of_use_leaves_doubt_and_its_words")
    ],
    "the same operation N times, in threads and in processes": [
        (RACES, "test_one_operation_asked_for_in_many_threads_has_one_effect"),
        (RACES, "test_one_operation_asked_for_in_many_processes_has_one_effect"),
        (RACES, "test_recovery_workers_at_once_settle_doubt_once"),
    ],
    "capture against cancel, capture over the limit, refund against refund, authorize against cancel": [
        (RACES, "test_operations_that_contradict_each_other_keep_within_the_limits_in_threads"),
        (RACES, "test_operations_that_contradict_each_other_keep_within_the_limits_in_processes"),
    ],
    "lease holder paused past its lease": [
        (KILLS, "test_a_lease_holder_that_was_stopped_past_its_lease_is_refused_and_its_answer_kept"),
        (KILLS, "test_one_stopped_before_it_sends_finds_its_lease_gone_and_sends_nothing"),
    ],
    "webhook duplicate: in series, at once": [
        (WEBHOOKS, "test_a_duplicate_in_series_is_one_transition_and_one_event"),
        (WEBHOOKS, "test_duplicates_at_once_in_threads_are_one_transition_and_one_event"),
        (WEBHOOKS, "test_duplicates_at_once_in_processes_are_one_transition_and_one_event"),
    ],
    "webhook before the answer, out of order, after a terminal state": [
        (WEBHOOKS, "test_one_that_overtakes_our_own_answer_is_kept_until_its_session_is_known"),
        (WEBHOOKS, "test_any_order_of_notifications_converges_to_the_gateways_truth"),
        (WEBHOOKS, "test_one_after_a_terminal_state_changes_nothing"),
    ],
    "webhook forged, stale, from the future, no secret configured": [
        (WEBHOOKS, "test_one_that_cannot_be_trusted_is_rejected_and_changes_nothing")
    ],
    "crash after acknowledging; database down on receipt": [
        (WEBHOOKS, "test_a_crash_after_the_acknowledgement_is_made_up_for_by_recovery"),
        (WEBHOOKS, "test_one_that_cannot_be_stored_is_not_acknowledged_and_comes_again"),
    ],
    "payer never returns, returns twice, tampers": [
        (TRUTH, "test_a_payer_who_never_returns_is_no_lost_sale"),
        (TRUTH, "test_a_payer_who_returns_twice_authorizes_once"),
        (TRUTH, "test_what_a_payer_makes_up_changes_nothing"),
    ],
    "another provider asked for while one is in doubt": [
        (ANSWERS, "test_another_provider_is_refused_while_one_is_in_doubt")
    ],
}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_tests_that_exist(row):
    assert ROWS[row]
    for module, name in ROWS[row]:
        assert callable(getattr(importlib.import_module(module), name)), name


def test_the_page_about_the_campaign_names_the_same_rows():
    page = (Path(__file__).parents[2] / "docs/campaign.md").read_text()
    table = page.partition("<!-- the fault matrix -->")[2].partition("<!-- end -->")[0]
    rows = [
        row.strip() for row in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)[1:] if set(row) != {"-"}
    ]
    assert [row for row in rows if row != "---"] == list(ROWS)


def test_no_test_of_the_matrix_stands_outside_a_row():
    named = {pair for pairs in ROWS.values() for pair in pairs}
    for module in (KILLS, ANSWERS, TRUTH, WEBHOOKS, RACES):
        found = {(module, name) for name in vars(importlib.import_module(module)) if name.startswith("test_")}
        assert found <= named
