"""What had succeeded and was undone since: a debit returned, a refund bounced, a total that fell."""

from datetime import timedelta

import pytest
from attrs import evolve

from helpers import eur
from paysession import Capabilities, Failure, InvalidAmount, InvalidData, NotApplied
from paysession.outcome import Effect, Snapshot

RETURNED = Failure("AC04", "The account is closed.")


def total(captured, refunded="0", authorized="42"):
    return Snapshot("authorized", authorized=eur(authorized), captured=eur(captured), refunded=eur(refunded))


def reversed_rows(told, session_id):
    rows = told.payments.history(session_id)
    return [(row.kind, row.amount, row.reverses) for row in rows if row.reverses is not None]


def test_a_capture_that_is_returned_is_undone_once_and_ends_the_session(told):
    session = told.session("captured")
    capture = told.payments.history(session.id)[-1]
    undone = Effect("capture", eur("42.00"), "reversed", capture.reference, capture.key, error=RETURNED)
    told.fake.snapshot = Snapshot("authorized", effects=[undone])
    for _ in range(3):
        told.payments.sync(session.id)
    assert told.books(session.id) == ("canceled", 0, 0, 0, None)
    assert told.payments.collection(told.order.id).held == 0  # the order can be paid again
    assert told.rows(session.id)[-1] == ("capture", "provider", "succeeded", "reversed", 4200)
    last = told.payments.history(session.id)[-1]
    assert (last.reverses, last.error) == (capture.id, RETURNED)
    assert told.told()[-3:] == ["session.captured", "session.reversed", "session.canceled"]
    event = told.payments.events()[-1]
    assert (event.operation_id, event.captured_amount, event.authorized_amount) == (
        last.id,
        eur("0"),
        eur("0"),
    )
    assert not [kind for kind, _ in told.fake.calls if kind == "cancel"]


def test_one_of_two_captures_is_returned_and_the_other_stays(told):
    session = told.session()
    for _ in range(2):
        told.payments.capture(session.id, eur("10.00"))
    first, second = told.payments.history(session.id)[-2:]
    told.fake.snapshot = Snapshot(
        "authorized",
        effects=[
            Effect("capture", eur("10.00"), "succeeded", first.reference, first.key),
            Effect("capture", eur("10.00"), "reversed", second.reference, second.key),
        ],
    )
    told.payments.sync(session.id)
    assert told.books(session.id) == ("authorized", 3200, 1000, 0, None)
    assert reversed_rows(told, session.id) == [("capture", eur("10.00"), second.id)]
    assert told.payments.collection(told.order.id).held == 3200


def test_what_was_in_doubt_and_is_returned_was_taken_first(told):
    """The ledger has both: the capture that succeeded, and its return."""
    session = told.session()
    told.fake.fail_next("timeout", kind="capture")
    told.fake.snapshot = Snapshot(
        "authorized",
        effects=[Effect("capture", eur("42.00"), "reversed", "ch_1", told.next_key(session.id, "capture"))],
    )
    session = told.payments.capture(session.id)
    assert (session.captured, session.in_doubt) == (0, False)
    assert told.rows(session.id)[-2:] == [
        ("capture", "host", "succeeded", "found", 4200),
        ("capture", "provider", "succeeded", "reversed", 4200),
    ]
    assert told.told(session.id)[-3:] == ["session.captured", "session.reversed", "session.canceled"]


def test_what_was_not_applied_for_all_we_knew_and_is_returned_leaves_no_money(told):
    session = told.session()
    told.fake.fail_next("not_applied", kind="capture")
    with pytest.raises(NotApplied):
        told.payments.capture(session.id, eur("10.00"))
    refused = told.payments.history(session.id)[-1]
    undone = Effect("capture", eur("10.00"), "reversed", key=refused.key)
    told.fake.snapshot = Snapshot("authorized", effects=[undone])
    told.payments.sync(session.id)
    assert told.books(session.id) == ("authorized", 3200, 0, 0, "effect_after_refusal")
    taken = told.payments.history(session.id)[-2]
    assert (taken.state, taken.id != refused.id) == ("succeeded", True)
    assert reversed_rows(told, session.id) == [("capture", eur("10.00"), taken.id)]


@pytest.mark.parametrize("state", ["failed", "reversed"])
def test_what_failed_at_the_gateway_and_was_never_ours_is_not_booked(told, state):
    session = told.session("captured")
    told.fake.snapshot = Snapshot("authorized", effects=[Effect("refund", eur("5.00"), state, "re_x")])
    assert told.payments.sync(session.id).version == session.version


def test_totals_that_fall_step_by_step_are_undone_each_time(told):
    session = told.session("captured")
    for left in ("30.00", "20.00", "0"):
        told.fake.snapshot = total(left, authorized=left)
        for _ in range(2):
            told.payments.sync(session.id)
        assert told.payments.get(session.id).captured_amount == eur(left)
    capture = told.payments.history(session.id)[2]
    assert reversed_rows(told, session.id) == [
        ("capture", eur(part), capture.id) for part in ("12.00", "10.00", "20.00")
    ]
    assert told.payments.get(session.id).status == "canceled"
    assert told.told().count("session.reversed") == 3


def test_a_total_that_falls_undoes_the_operation_of_that_amount_and_else_the_newest(told):
    session = told.session("captured")
    for amount in ("5.00", "3.00", "4.00"):
        told.payments.refund(session.id, eur(amount))
    five, three, four = told.payments.history(session.id)[-3:]
    told.fake.snapshot = total("42", "9")
    told.payments.sync(session.id)
    assert reversed_rows(told, session.id) == [("refund", eur("3.00"), three.id)]
    told.fake.snapshot = total("42", "3")
    told.payments.sync(session.id)
    assert reversed_rows(told, session.id)[1:] == [
        ("refund", eur("4.00"), four.id),
        ("refund", eur("2.00"), five.id),
    ]
    assert told.books(session.id) == ("authorized", 4200, 4200, 300, None)


def test_what_a_total_undid_in_part_is_undone_once_as_a_whole(told):
    session = told.session("captured")
    told.payments.refund(session.id, eur("10.00"))
    refund = told.payments.history(session.id)[-1]
    told.fake.snapshot = total("42", "6")
    told.payments.sync(session.id)
    failed = Effect("refund", eur("10.00"), "failed", refund.reference, refund.key)
    told.fake.snapshot = Snapshot("authorized", effects=[failed])
    for _ in range(2):
        assert told.payments.sync(session.id).refunded == 0
    assert reversed_rows(told, session.id) == [
        ("refund", eur("4.00"), refund.id),
        ("refund", eur("6.00"), refund.id),
    ]


def test_what_is_left_of_a_capture_returned_in_part_can_be_refunded(told):
    told.fake.capabilities = evolve(told.fake.capabilities, refund_needs_capture=True)
    told = type(told)(told.fake)
    session = told.session()
    for amount in ("20.00", "10.00"):
        told.payments.capture(session.id, eur(amount))
    first, second = told.payments.history(session.id)[-2:]
    told.fake.snapshot = total("18")
    told.payments.sync(session.id)  # 10 of the second, and 2 of the first
    assert reversed_rows(told, session.id) == [
        ("capture", eur("10.00"), second.id),
        ("capture", eur("2.00"), first.id),
    ]
    with pytest.raises(InvalidData, match="no capture"):
        told.payments.refund(session.id, eur("1.00"), capture=second.id)
    with pytest.raises(InvalidAmount, match=r"18\.00 EUR is left"):
        told.payments.refund(session.id, eur("18.01"), capture=first.id)
    assert told.payments.refund(session.id, eur("18.00")).refunded == 1800


def test_a_refund_that_bounced_leaves_its_capture_to_be_refunded_again(told):
    session = told.session("captured")
    capture = told.payments.history(session.id)[-1]
    told.payments.refund(session.id, capture=capture.id)
    refund = told.payments.history(session.id)[-1]
    bounced = Effect("refund", eur("42.00"), "reversed", refund.reference, refund.key)
    told.fake.snapshot = Snapshot("authorized", effects=[bounced])
    assert told.payments.sync(session.id).refunded == 0
    told.fake.snapshot = None
    told.fake._accounts[session.id].effects.pop()
    assert told.payments.refund(session.id, capture=capture.id).refunded == 4200


def test_a_capture_that_is_undone_leaves_what_the_gateway_still_shows_authorized(told):
    session = told.session("captured")
    told.fake.snapshot = total("0")
    for _ in range(2):
        told.payments.sync(session.id)
    assert told.books(session.id) == ("authorized", 4200, 0, 0, None)
    assert told.payments.collection(told.order.id).held == 4200
    assert told.told()[-2:] == ["session.reversed", "session.changed"]
    told.fake.snapshot = None
    told.fake._accounts[session.id].effects.clear()
    assert told.payments.capture(session.id).captured == 4200


def test_a_total_that_lags_undoes_nothing_and_one_that_does_not_lag_any_more_does(make_told):
    told = make_told()
    told.fake.capabilities = Capabilities(
        capture="multiple", refund="multiple", lookup="lagging", lookup_lag=told.fake.capabilities.call_limit
    )
    told = type(told)(told.fake)
    session = told.session("captured")
    told.fake.snapshot = total("30")
    assert told.payments.sync(session.id).captured_amount == eur("42.00")
    told.clock.forward(seconds=60)
    assert told.payments.sync(session.id).captured_amount == eur("30.00")


def test_a_view_from_before_undoes_nothing_however_late_it_is_received(make_told):
    """The process was paused between the gateway's answer and its own commit."""
    told = make_told()
    lag = timedelta(seconds=45)
    told.fake.capabilities = evolve(told.fake.capabilities, lookup="lagging", lookup_lag=lag)
    told = type(told)(told.fake)
    session = told.session("captured")
    told.fake.snapshot = total("0")
    told.fake.paused = lambda: told.clock.forward(minutes=5)
    assert told.payments.sync(session.id).captured_amount == eur("42.00")
    assert told.payments.sync(session.id).captured_amount == eur("0.00")


def test_a_session_that_goes_on_within_one_lookup_reports_no_end(told):
    session = told.session("captured")
    capture = told.payments.history(session.id)[-1]
    undone = Effect("capture", eur("42.00"), "reversed", capture.reference, capture.key, error=RETURNED)
    told.fake.snapshot = Snapshot(
        "authorized", effects=[undone, Effect("capture", eur("5.00"), reference="c2")]
    )
    told.payments.sync(session.id)
    assert told.books(session.id) == ("authorized", 500, 500, 0, None)
    assert told.told(session.id)[-2:] == ["session.reversed", "session.captured"]
