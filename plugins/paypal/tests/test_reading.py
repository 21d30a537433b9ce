"""What an order proves about its session, read from PayPal's JSON without any request."""

from datetime import UTC, datetime, timedelta

import pytest

from paysession.operation import State
from paysession.provider import (
    Answer,
    Declined,
    Kind,
    Money,
    Operation,
    OutcomeUnknown,
    PaymentSession,
    Redirect,
    Status,
)
from paysession.values import decode, encode, replace
from paysession_paypal.data import PayPalData
from paysession_paypal.disputes import read_case
from paysession_paypal.orders import read_capture, read_order, read_refund
from paysession_paypal.reading import Reading
from paysession_paypal.reading import captured as answer_to_capture
from paysession_paypal.reading import refunded as answer_to_refund

SESSION = "ps_0198a1b2c3d4e5f60718"
OURS = f"{SESSION}-9"
BEGUN = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOW = BEGUN + timedelta(days=2)
END = BEGUN + timedelta(days=29)
APPROVE = "https://www.sandbox.paypal.com/checkoutnow?token=O1"


def eur(amount):
    return Money(amount, "EUR")


def wire(amount):
    return {"currency_code": "EUR", "value": amount}


def authorization(status="CREATED", amount="42.00", number=1, **more):
    found = {"id": f"A{number}", "status": status, "amount": wire(amount)}
    times = {"create_time": "2026-01-01T12:00:00Z", "expiration_time": "2026-01-30T12:00:00Z"}
    return {**found, **times, **more}


def capture(amount, status="COMPLETED", number=1, *, key=None, reason=None, final=False, **more):
    found = {"id": f"C{number}", "status": status, "amount": wire(amount), "final_capture": final}
    if key is not None:
        found["invoice_id"] = f"order-1001 {key}"
    if reason is not None:
        found["status_details"] = {"reason": reason}
    return {**found, **more}


def refund(amount, status="COMPLETED", number=1, *, of="C1", key=None, **more):
    found = {"id": f"R{number}", "status": status, "amount": wire(amount)}
    if of is not None:
        found["links"] = [{"rel": "up", "href": f"https://api.paypal.com/v2/payments/captures/{of}"}]
    if key is not None:
        found["invoice_id"] = f"order-1001 {key}"
    return {**found, **more}


def order(authorizations=(), captures=(), refunds=(), status="COMPLETED", intent="AUTHORIZE", **more):
    payments = {"authorizations": [*authorizations], "captures": [*captures], "refunds": [*refunds]}
    return read_order(
        {
            "id": "O1",
            "status": status,
            "intent": intent,
            "create_time": "2026-01-01T12:00:00Z",
            "update_time": "2026-01-01T12:30:00Z",
            "purchase_units": [
                {
                    "custom_id": SESSION,
                    "amount": wire("42.00"),
                    "payments": {kind: rows for kind, rows in payments.items() if rows},
                }
            ],
            "links": [{"rel": "approve", "href": APPROVE}],
            **more,
        }
    )


def at_once(captures=(), refunds=(), status="COMPLETED", **more):
    return order((), captures, refunds, status, "CAPTURE", **more)


def session(status=Status.AUTHORIZED, data=None, **changes):
    return PaymentSession(
        **{
            "id": SESSION,
            "collection_id": "pc_1",
            "collection_reference": "order-1001",
            "provider": "paypal",
            "amount": eur("42.00"),
            "status": status,
            "created_at": BEGUN,
            "updated_at": BEGUN,
            "reference": "O1",
            "data": encode(data, "data"),
            **changes,
        }
    )


def operation(kind, amount="5.00", **changes):
    return Operation(
        **{
            "id": OURS,
            "session_id": SESSION,
            "kind": Kind(kind),
            "ordinal": 9,
            "amount": eur(amount),
            "state": State.STARTED,
            "created_at": NOW,
            "updated_at": NOW,
            "sent_at": NOW,
            **changes,
        }
    )


THEIRS = f"{SESSION}-3"


def shown(found, doubt=None, now=NOW, asked=False, **changes):
    return Reading(found, session(**changes), now, asked=asked).snapshot(doubt)


def of_kind(found, kind):
    return [effect for effect in found.effects if effect.kind is kind]


# --- how much --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("authorizations", "captures", "authorized", "captured"),
    [
        ([authorization()], [], "42.00", "0.00"),
        ([authorization("PARTIALLY_CAPTURED")], [capture("20.00")], "42.00", "20.00"),
        ([authorization("PARTIALLY_CAPTURED")], [capture("20.00", final=True)], "20.00", "20.00"),
        ([authorization("CAPTURED")], [capture("42.00")], "42.00", "42.00"),
        ([authorization("CAPTURED")], [capture("48.30")], "48.30", "48.30"),
        ([authorization("PARTIALLY_CAPTURED")], [capture("48.30")], "48.30", "48.30"),
        ([authorization("VOIDED")], [capture("20.00")], "20.00", "20.00"),
        ([authorization("VOIDED")], [], "0.00", "0.00"),
        ([authorization()], [capture("20.00", "PENDING")], "42.00", "0.00"),
        ([authorization("VOIDED")], [capture("20.00", "PENDING")], "20.00", "0.00"),
        ([authorization()], [capture("20.00", "DECLINED", final=True)], "42.00", "0.00"),
        ([authorization()], [capture("20.00", "FAILED")], "42.00", "0.00"),
        ([authorization("VOIDED"), authorization(number=2)], [], "42.00", "0.00"),
        ([authorization(), authorization(amount="48.30", number=2)], [], "48.30", "0.00"),
    ],
)
def test_what_is_authorized_is_what_was_taken_and_what_can_still_be(
    authorizations, captures, authorized, captured
):
    found = shown(order(authorizations, captures))
    assert (eur(authorized), eur(captured)) == (found.authorized, found.captured)
    assert eur("42.00") == found.amount


@pytest.mark.parametrize(
    ("now", "authorized"),
    [
        (END, "42.00"),
        (END + timedelta(minutes=10) - timedelta(seconds=1), "42.00"),
        (END + timedelta(minutes=10), "0.00"),
        (None, "42.00"),
    ],
)
def test_an_authorization_holds_until_its_end_by_paypals_clock_and_ten_minutes(now, authorized):
    assert eur(authorized) == shown(order([authorization()]), now=now).authorized


def test_an_authorization_without_any_time_holds_until_paypal_says_otherwise():
    row = authorization(create_time=None, expiration_time=None)
    assert eur("42.00") == shown(order([row]), now=END + timedelta(days=99)).authorized


@pytest.mark.parametrize(
    ("status", "reason", "captured", "charged_back"),
    [
        ("COMPLETED", None, "20.00", "0.00"),
        ("PENDING", "ECHECK", "0.00", "0.00"),
        ("PENDING", "BUYER_COMPLAINT", "20.00", "0.00"),
        ("PENDING", "CHARGEBACK", "20.00", "20.00"),
        ("DECLINED", "CHARGEBACK", "20.00", "20.00"),
        ("REVERSED", None, "20.00", "20.00"),
        ("REFUNDED", None, "20.00", "20.00"),
        ("PENDING", "REFUNDED", "20.00", "20.00"),
        ("DECLINED", None, "0.00", "0.00"),
    ],
)
def test_what_a_capture_took_is_its_own_and_what_a_dispute_took_beside_it(
    status, reason, captured, charged_back
):
    rows = [capture("20.00", status, reason=reason)]
    for found in (shown(order([authorization("PARTIALLY_CAPTURED")], rows)), shown(at_once(rows))):
        assert eur(captured) == found.captured
        assert eur(charged_back) == found.charged_back


@pytest.mark.parametrize(
    ("status", "refunded", "charged_back"),
    [("COMPLETED", "5.00", "15.00"), ("PENDING", "0.00", "15.00"), ("FAILED", "0.00", "20.00")],
)
def test_of_a_capture_that_is_gone_refunds_explain_their_part(status, refunded, charged_back):
    for of in ("C1", None):
        found = shown(at_once([capture("20.00", "REFUNDED")], [refund("5.00", status, of=of)]))
        assert (eur(refunded), eur(charged_back)) == (found.refunded, found.charged_back)


def test_a_refund_without_a_link_explains_what_one_capture_lacks_and_only_once():
    captures = [capture("20.00", "REFUNDED"), capture("10.00", "REFUNDED", 2), capture("5.00", number=3)]
    several = order([authorization("PARTIALLY_CAPTURED")], captures, [refund("25.00", of=None)])
    found = shown(several)
    assert (eur("25.00"), eur("5.00")) == (found.refunded, found.charged_back)
    assert {"C2": eur("5.00")} == Reading(several, session(), NOW).chargebacks.taken
    assert ["C2"] == [one.capture for one in of_kind(found, Kind.CHARGEBACK)]
    linked = shown(
        order(
            [authorization("PARTIALLY_CAPTURED")],
            captures,
            [refund("20.00"), refund("5.00", of=None, number=2)],
        )
    )
    assert (eur("25.00"), eur("5.00")) == (linked.refunded, linked.charged_back)
    assert ["C2"] == [one.capture for one in of_kind(linked, Kind.CHARGEBACK)]


def test_a_refund_without_a_link_that_failed_explains_nothing():
    captures = [capture("20.00", "REFUNDED"), capture("10.00", number=2)]
    found = order([authorization("PARTIALLY_CAPTURED")], captures, [refund("5.00", "FAILED", of=None)])
    assert eur("20.00") == shown(found).charged_back


def test_a_capture_that_is_given_back_whole_by_refunds_is_no_chargeback():
    found = shown(at_once([capture("20.00", "REFUNDED")], [refund("15.00"), refund("5.00", number=2)]))
    assert (eur("20.00"), eur("0.00")) == (found.refunded, found.charged_back)
    assert [] == of_kind(found, Kind.CHARGEBACK)
    twice = shown(at_once([capture("20.00", "REFUNDED")], [refund("20.00"), refund("5.00", number=2)]))
    assert (eur("25.00"), eur("0.00")) == (twice.refunded, twice.charged_back)


# --- a part that was given back, and nothing says how much -----------------------------------------


PARTLY = at_once([capture("20.00", "PARTIALLY_REFUNDED")])


def test_a_part_that_nothing_explains_leaves_open_what_was_taken():
    found = shown(PARTLY)
    assert found.charged_back is None
    assert (Status.PENDING, eur("20.00")) == (found.status, found.captured)
    assert "a part of C1 was given back" in decode(found.data)["unclear"][0]


@pytest.mark.parametrize(
    ("captures", "refunds"),
    [
        ([capture("20.00", "PARTIALLY_REFUNDED")], [refund("5.00")]),
        ([capture("20.00", "PARTIALLY_REFUNDED")], [refund("5.00", of=None)]),
        ([capture("20.00")], []),
    ],
)
def test_a_part_that_a_refund_explains_leaves_nothing_open(captures, refunds):
    found = shown(order([authorization("PARTIALLY_CAPTURED")], captures, refunds))
    assert (Status.AUTHORIZED, eur("0.00")) == (found.status, found.charged_back)


def test_a_refund_that_failed_is_not_one_of_ours_that_is_listed():
    captures = [capture("20.00", "PARTIALLY_REFUNDED"), capture("10.00", number=2)]
    unlisted = order([authorization("PARTIALLY_CAPTURED")], captures, [refund("5.00", "FAILED", of="C2")])
    assert shown(unlisted).charged_back is None
    assert eur("0.00") == shown(unlisted, refunded=500).charged_back  # ours may be listed later


def lost(amount, of="C1", **more):
    """Return a dispute that was decided against the merchant just now, for this much."""
    return read_case(
        {
            "dispute_id": "PP-D-1",
            "status": "RESOLVED",
            "dispute_amount": wire(amount),
            "dispute_outcome": {"outcome_code": "RESOLVED_BUYER_FAVOUR"},
            "disputed_transactions": [{"seller_transaction_id": of}],
            "create_time": BEGUN.isoformat(),
            "update_time": NOW.isoformat(),
            **more,
        }
    )


def with_dispute(found, case, now=NOW, **changes):
    return Reading(found, session(**changes), now, [case]).snapshot(None)


def test_a_part_that_a_dispute_explains_leaves_nothing_open():
    found = with_dispute(PARTLY, lost("5.00"))
    assert (Status.AUTHORIZED, eur("5.00")) == (found.status, found.charged_back)
    assert "unclear" not in decode(found.data)
    assert "PP-D-1" == decode(found.data)["disputes"]["C1 dispute"]["id"]


def test_a_dispute_takes_no_more_than_the_refunds_have_left():
    for amount, status, left in (
        ("18.00", "COMPLETED", "2.00"),
        ("18.00", "PENDING", "2.00"),
        ("18.00", "FAILED", "5.00"),
        ("20.00", "PENDING", "0.00"),
        ("25.00", "PENDING", "0.00"),
    ):
        found = at_once([capture("20.00", "PARTIALLY_REFUNDED")], [refund(amount, status, key=OURS)])
        assert eur(left) == with_dispute(found, lost("5.00")).charged_back


@pytest.mark.parametrize(
    ("invoice", "status", "charged_back"),
    [
        (None, "COMPLETED", "0.00"),
        (f"order-1001 {THEIRS}", "COMPLETED", "0.00"),
        ("shop 77", "COMPLETED", "0.00"),
        (f"order-1001 {OURS}", "COMPLETED", "5.00"),
        (None, "FAILED", "5.00"),
    ],
    ids=["none", "the capture's", "another's", "ours", "failed"],
)
def test_a_refund_that_we_did_not_make_may_be_what_ended_a_dispute(invoice, status, charged_back):
    row = refund("5.00", status, invoice_id=invoice, create_time=NOW.isoformat())
    found = at_once([capture("20.00", "PARTIALLY_REFUNDED", key=THEIRS)], [row])
    assert eur(charged_back) == with_dispute(found, lost("5.00")).charged_back


def test_a_decision_that_the_order_does_not_show_yet_is_waited_for_by_paypals_clock():
    found = at_once([capture("20.00")])
    for now, state in ((NOW, "pending"), (NOW + timedelta(days=1), "failed"), (None, "failed")):
        (one,) = of_kind(with_dispute(found, lost("5.00"), now), Kind.CHARGEBACK)
        assert state == one.state


def test_a_part_of_one_capture_is_not_explained_by_the_refund_of_another():
    captures = [capture("20.00", "PARTIALLY_REFUNDED"), capture("10.00", "PARTIALLY_REFUNDED", 2)]
    found = order([authorization("PARTIALLY_CAPTURED")], captures, [refund("5.00", of="C2")])
    assert shown(found).charged_back is None
    loose = order([authorization("PARTIALLY_CAPTURED")], captures, [refund("5.00", of=None)])
    assert eur("0.00") == shown(loose).charged_back


@pytest.mark.parametrize(
    "changes",
    [{"refunded": 500}, {"refunding": 500}, {"open": OURS}],
    ids=["made", "pending", "in doubt"],
)
def test_a_refund_of_ours_may_be_listed_later_than_it_shows(changes):
    assert eur("0.00") == shown(PARTLY, **changes).charged_back
    listed = at_once(
        [capture("20.00", "PARTIALLY_REFUNDED"), capture("22.00", "PARTIALLY_REFUNDED", 2)], [refund("5.00")]
    )
    assert (shown(listed, **changes).charged_back is None) is ("open" not in changes)


# --- how the session stands ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (order([authorization("PENDING")]), Status.PENDING),
        (order([authorization("SOMETHING_NEW")]), Status.PENDING),
        (at_once([capture("42.00", "PENDING", reason="ECHECK")]), Status.PENDING),
        (order([authorization("VOIDED")]), Status.CANCELED),
        (order([authorization("EXPIRED")]), Status.CANCELED),
        (order(status="VOIDED"), Status.CANCELED),
        (order([authorization("DENIED")]), Status.ERROR),
        (at_once([capture("42.00", "DECLINED", reason="PENDING_REVIEW")]), Status.ERROR),
        (order([authorization("DENIED"), authorization("VOIDED", number=2)]), Status.CANCELED),
        (order([authorization("DENIED"), authorization(number=2)]), Status.AUTHORIZED),
        (order(status="CREATED"), Status.REQUIRES_MORE),
        (order(status="APPROVED"), Status.REQUIRES_MORE),
        (order(status="PAYER_ACTION_REQUIRED"), Status.REQUIRES_MORE),
    ],
)
def test_an_order_that_holds_and_took_nothing_stands_as_its_payments_do(found, status):
    assert status == shown(found, status=Status.REQUIRES_MORE).status


def test_a_denied_payment_says_why_and_is_over_where_it_was_authorized():
    found = at_once([capture("42.00", "DECLINED", reason="PENDING_REVIEW")])
    assert "PENDING_REVIEW" == shown(found, status=Status.REQUIRES_MORE).error.code
    denied = order([authorization("DENIED")])
    assert "AUTHORIZATION_DENIED" == shown(denied, status=Status.REQUIRES_MORE).error.code
    for before in (Status.AUTHORIZED, Status.CANCELED):
        assert (Status.CANCELED, None) == (
            shown(denied, status=before).status,
            shown(denied, status=before).error,
        )


def test_an_authorization_that_is_spent_without_its_captures_is_unknown():
    for captures in ([], [capture("20.00", "DECLINED")]):
        with pytest.raises(OutcomeUnknown, match="without its captures"):
            shown(order([authorization("CAPTURED")], captures))
    for spent in (capture("42.00", "DECLINED"), capture("20.00", "DECLINED", final=True)):
        found = order([authorization("CAPTURED")], [spent])
        for before in (Status.AUTHORIZED, Status.REQUIRES_MORE):
            assert Status.CANCELED == shown(found, status=before).status


@pytest.mark.parametrize(
    ("captures", "doubt", "status"),
    [
        ([capture("42.00")], "cancel", Status.CANCELED),
        ([capture("42.00")], None, Status.AUTHORIZED),
        ([capture("42.00")], "capture", Status.AUTHORIZED),
        ([capture("20.00")], "cancel", Status.AUTHORIZED),
    ],
)
def test_a_cancel_is_done_once_nothing_is_left_to_release(captures, doubt, status):
    found = order([authorization("PARTIALLY_CAPTURED")], captures)
    assert status == shown(found, operation(doubt) if doubt else None).status


@pytest.mark.parametrize(
    ("before", "doubt", "status"),
    [
        (Status.CANCELED, None, Status.CANCELED),
        (Status.REQUIRES_MORE, "cancel", Status.CANCELED),
        (Status.REQUIRES_MORE, "authorize", Status.REQUIRES_MORE),
        (Status.ERROR, None, Status.ERROR),
    ],
)
def test_an_order_that_nobody_paid_is_what_we_made_of_it(before, doubt, status):
    found = order(status="APPROVED")
    assert status == shown(found, operation(doubt) if doubt else None, status=before).status


def test_an_order_of_a_bank_is_not_canceled_while_a_payer_may_still_pay():
    found = at_once(status="CREATED")
    bank = {"payment_source": "ideal"}
    assert (
        Status.REQUIRES_MORE
        == shown(found, operation("cancel"), status=Status.REQUIRES_MORE, data=bank).status
    )
    assert Status.REQUIRES_MORE == shown(found, status=Status.CANCELED, data=bank).status


def test_an_order_that_is_paid_with_what_was_saved_waits_for_nobody():
    data = {"vault_id": "V1"}
    found = shown(order(status="CREATED"), status=Status.PENDING, data=data)
    assert (Status.PENDING, None) == (found.status, found.next_action)


def test_a_completed_order_without_a_payment_is_unknown():
    with pytest.raises(OutcomeUnknown, match="without a payment"):
        shown(order(), status=Status.REQUIRES_MORE)


def test_a_payment_that_cannot_be_read_is_no_unpaid_order():
    odd = order([{"id": "A1"}], status="APPROVED")
    with pytest.raises(OutcomeUnknown, match="that can be read"):
        shown(odd, status=Status.REQUIRES_MORE)


def test_a_bank_that_approved_has_its_capture_on_the_way():
    data = {"payment_source": "ideal"}
    found = shown(at_once(status="APPROVED"), status=Status.REQUIRES_MORE, data=data)
    assert Status.PENDING == found.status
    (effect,) = found.effects
    assert (Kind.AUTHORIZE, eur("42.00"), "pending") == (effect.kind, effect.amount, effect.state)
    paid = shown(at_once([capture("42.00")], status="APPROVED"), status=Status.REQUIRES_MORE, data=data)
    assert (Status.AUTHORIZED, [Kind.CAPTURE]) == (paid.status, [one.kind for one in paid.effects])


# --- what the payer is to do -----------------------------------------------------------------------


def test_a_payer_is_sent_to_paypal_while_nothing_is_paid():
    waits = shown(order(status="CREATED"), status=Status.REQUIRES_MORE)
    assert (Redirect(APPROVE), False) == (waits.next_action, waits.ready)
    assert shown(order([authorization()])).next_action is None
    unlinked = shown(order(status="CREATED", links=[]), status=Status.REQUIRES_MORE)
    assert (Status.REQUIRES_MORE, None) == (unlinked.status, unlinked.next_action)
    buttons = shown(order(status="CREATED"), status=Status.REQUIRES_MORE, data={"flow": "buttons"})
    assert buttons.next_action is None


def test_an_approval_is_ready_unless_it_is_the_one_that_was_declined():
    approved = order(status="APPROVED")
    waiting = {"status": Status.REQUIRES_MORE}
    assert shown(approved, **waiting).ready
    declined = {"declined": "INSTRUMENT_DECLINED", "declined_approval": "2026-01-01T12:30:00Z"}
    again = shown(approved, **waiting, data=declined)
    assert not again.ready
    assert declined == {name: decode(again.data)[name] for name in declined}
    later = order(status="APPROVED", update_time="2026-01-01T12:45:00Z")
    assert shown(later, **waiting, data=declined).ready
    paid = decode(shown(order([authorization()]), data=declined).data)
    assert not set(declined) & set(paid)
    assert not shown(approved, status=Status.ERROR).ready


def test_a_lookup_shows_who_pays_and_until_when_it_waits_or_holds():
    assert (
        BEGUN + timedelta(hours=3) == shown(order(status="CREATED"), status=Status.REQUIRES_MORE).expires_at
    )
    assert END == shown(order([authorization()])).expires_at
    payer = {"payer_id": "P1", "email_address": "jenny@example.com"}
    assert "jenny@example.com" == shown(order([authorization()], payer=payer)).payer.email
    later = authorization(number=2, expiration_time="2026-02-10T12:00:00Z")
    assert datetime(2026, 2, 10, 12, tzinfo=UTC) == shown(order([authorization("VOIDED"), later])).expires_at
    over = {**later, "status": "VOIDED"}
    assert END == shown(order([over, authorization()])).expires_at
    assert datetime(2026, 2, 10, 12, tzinfo=UTC) == shown(order([over, authorization("VOIDED")])).expires_at
    timeless = {"create_time": None, "expiration_time": None}
    for status in ("CREATED", "VOIDED"):
        rows = [authorization(status, number=2, **timeless), authorization(status)]
        assert END == shown(order(rows)).expires_at
    undated = order(status="CREATED", create_time=None)
    assert shown(undated, status=Status.REQUIRES_MORE).expires_at is None


def test_what_the_payer_is_to_do_again_is_kept_with_the_approval_that_was_declined():
    reading = Reading(order(status="APPROVED"), session(Status.REQUIRES_MORE), NOW)
    again = reading.seen("card", "INSTRUMENT_DECLINED")
    assert ("card", "INSTRUMENT_DECLINED", "2026-01-01T12:30:00Z", "O1") == (
        again.payment_source, again.declined, again.declined_approval, again.order,
    )  # fmt: skip
    first = reading.seen("paypal")
    assert ("paypal", None, None) == (first.payment_source, first.declined, first.declined_approval)


# --- what happened one by one ----------------------------------------------------------------------


def test_each_authorization_capture_and_refund_is_an_effect_with_its_key():
    found = shown(
        order(
            [authorization("PARTIALLY_CAPTURED")],
            [
                capture("20.00", key=f"{SESSION}-3"),
                capture("1.00", "PENDING", 2, key="ps_other-1"),
                capture("2.00", "DECLINED", 3, reason="PENDING_REVIEW"),
            ],
            [
                refund("5.00", key=f"{SESSION}-4"),
                refund("1.00", "PENDING", 2, of="C1", key="theirs"),
                refund("2.00", "FAILED", 3, of="C1", status_details={"reason": "ECHECK"}),
            ],
        )
    )
    assert [
        (Kind.AUTHORIZE, "42.00", "succeeded", "A1", None, None),
        (Kind.CAPTURE, "20.00", "succeeded", "C1", f"{SESSION}-3", None),
        (Kind.CAPTURE, "1.00", "pending", "C2", "", None),
        (Kind.CAPTURE, "2.00", "failed", "C3", None, "PENDING_REVIEW"),
        (Kind.REFUND, "5.00", "succeeded", "R1", f"{SESSION}-4", None),
        (Kind.REFUND, "1.00", "pending", "R2", "", None),
        (Kind.REFUND, "2.00", "failed", "R3", None, "ECHECK"),
    ] == [
        (e.kind, str(e.amount.amount), e.state, e.reference, e.key, e.error.code if e.error else None)
        for e in found.effects
    ]
    assert {"C1"} == {e.capture for e in of_kind(found, Kind.REFUND)}
    assert (SESSION, "O1") == (found.session_id, found.reference)
    assert eur("5.00") == found.refunded


def test_a_capture_at_once_belongs_to_its_authorize_and_waits_as_one():
    key = f"{SESSION}-2"
    (paid,) = shown(at_once([capture("42.00", key=key)])).effects
    assert (Kind.CAPTURE, "C1", None) == (paid.kind, paid.reference, paid.key)
    (waits,) = shown(at_once([capture("42.00", "PENDING", key=key, reason="ECHECK")])).effects
    assert (Kind.AUTHORIZE, "pending", eur("42.00")) == (waits.kind, waits.state, waits.amount)


def test_a_cancel_that_waited_for_a_bank_fails_once_the_payer_has_paid():
    data = {"payment_source": "ideal", "canceling": OURS}
    (late, paid) = shown(at_once([capture("42.00")]), data=data).effects
    assert (Kind.CANCEL, "failed", OURS, "ORDER_ALREADY_CAPTURED") == (
        late.kind, late.state, late.key, late.error.code,
    )  # fmt: skip
    assert (eur("42.00"), Kind.CAPTURE) == (late.amount, paid.kind)
    assert () == shown(at_once(status="CREATED"), status=Status.REQUIRES_MORE, data=data).effects


# --- an operation in doubt -------------------------------------------------------------------------


def refuted(found, doubt, now=NOW):
    """Return PayPal's word for why an operation in doubt can no longer happen; None: it may."""
    ours = [one for one in shown(found, doubt, now).effects if one.key == doubt.key and one.state == "failed"]
    assert all((one.kind, one.amount) == (doubt.kind, doubt.amount) for one in ours)
    return ours[0].error.code if ours else None


@pytest.mark.parametrize(
    ("authorizations", "captures", "code"),
    [
        ([authorization()], [], None),
        ([], [], None),
        ([authorization("VOIDED")], [], "AUTHORIZATION_VOIDED"),
        ([authorization("DENIED")], [], "AUTHORIZATION_DENIED"),
        ([authorization("EXPIRED")], [], "AUTHORIZATION_EXPIRED"),
        ([authorization("VOIDED"), authorization(number=2)], [], None),
        ([authorization("VOIDED"), authorization("PENDING", number=2)], [], None),
        ([authorization("CAPTURED")], [capture("42.00", key=THEIRS)], "AUTHORIZATION_ALREADY_CAPTURED"),
        ([authorization("CAPTURED")], [capture("20.00", key=THEIRS)], None),
        (
            [authorization("CAPTURED")],
            [capture("20.00", key=THEIRS, final=True)],
            "AUTHORIZATION_ALREADY_CAPTURED",
        ),
        (
            [authorization("VOIDED"), authorization("CAPTURED", "48.30", 2)],
            [capture("42.00", key=THEIRS)],
            None,
        ),
        ([authorization("VOIDED")], [capture("20.00", key=OURS)], None),
        ([authorization("VOIDED")], [capture("20.00")], None),
        ([authorization()], [capture("42.00", "DECLINED", key=THEIRS, final=True)], None),
    ],
)
def test_a_capture_in_doubt_is_refuted_by_what_leaves_no_room_for_it(authorizations, captures, code):
    status = "COMPLETED" if authorizations or captures else "CREATED"
    assert code == refuted(order(authorizations, captures, status=status), operation("capture"))


def test_a_capture_in_doubt_is_refuted_by_the_end_of_the_authorization():
    for since, code in ((timedelta(minutes=9), None), (timedelta(minutes=10), "AUTHORIZATION_EXPIRED")):
        assert code == refuted(order([authorization()]), operation("capture"), END + since)


def of_capture(reference):
    return operation("capture", "20.00", id=THEIRS, reference=reference, state=State.SUCCEEDED)


def refund_of(reference="C1", **changes):
    return replace(operation("refund", **changes), capture=of_capture(reference))


@pytest.mark.parametrize(
    ("status", "refunds", "code"),
    [
        ("REFUNDED", [refund("20.00", key=THEIRS)], "CAPTURE_FULLY_REFUNDED"),
        ("REFUNDED", [refund("20.00", key=OURS)], None),
        ("REFUNDED", [refund("20.00")], None),
        ("REFUNDED", [refund("15.00", key=THEIRS)], None),
        ("PARTIALLY_REFUNDED", [refund("15.00", key=THEIRS)], None),
        ("COMPLETED", [], None),
        ("REVERSED", [], None),
    ],
)
def test_a_refund_in_doubt_is_refuted_by_a_capture_that_is_given_back_whole(status, refunds, code):
    found = order([authorization("PARTIALLY_CAPTURED")], [capture("20.00", status, key=THEIRS)], refunds)
    assert code == refuted(found, refund_of())
    assert refuted(found, refund_of("C9")) is None


@pytest.mark.parametrize(
    ("sent_at", "now", "code"),
    [
        (NOW - timedelta(minutes=10), NOW, "CAPTURE_FULLY_REFUNDED"),
        (NOW - timedelta(minutes=9), NOW, None),
        (NOW - timedelta(minutes=10), None, None),
        (None, NOW, None),
    ],
)
def test_what_a_dispute_took_refutes_a_refund_once_that_would_show(sent_at, now, code):
    found = order([authorization("PARTIALLY_CAPTURED")], [capture("20.00", "REVERSED", key=THEIRS)])
    assert code == refuted(found, refund_of(sent_at=sent_at), now)


def test_a_capture_that_still_stands_refutes_no_refund_however_late():
    for status in ("COMPLETED", "PARTIALLY_REFUNDED"):
        found = order([authorization("PARTIALLY_CAPTURED")], [capture("20.00", status, key=THEIRS)])
        assert refuted(found, refund_of(sent_at=NOW - timedelta(days=1))) is None


@pytest.mark.parametrize("kind", ["authorize", "update", "cancel", "initiate"])
def test_of_no_other_operation_the_payments_say_that_it_failed(kind):
    assert refuted(order([authorization("VOIDED")]), operation(kind)) is None


FORGOTTEN = NOW + timedelta(days=45)


@pytest.mark.parametrize(
    ("doubt", "found"),
    [
        (operation("capture"), order([authorization()], [capture("5.00")])),
        (operation("refund"), order([authorization()], [capture("20.00")], [refund("5.00")])),
    ],
    ids=["capture", "refund"],
)
def test_what_may_be_ours_and_lost_its_number_is_for_an_operator_once_the_key_is_forgotten(doubt, found):
    hidden = shown(found, doubt, FORGOTTEN)
    assert (hidden.effects, hidden.authorized, hidden.captured) == ((), None, None)
    assert (hidden.refunded, hidden.charged_back) == (None, None)
    assert () == shown(found, doubt, None).effects  # nobody knows how late it is
    assert shown(found, doubt, FORGOTTEN - timedelta(seconds=1)).effects
    later = replace(doubt, created_at=NOW - timedelta(days=1))  # the key is as old as the request
    assert shown(found, later, FORGOTTEN - timedelta(hours=1)).effects
    unsent = replace(doubt, sent_at=None, created_at=NOW - timedelta(days=1))
    assert () == shown(found, unsent, FORGOTTEN - timedelta(hours=1)).effects


@pytest.mark.parametrize(
    ("doubt", "found"),
    [
        (
            operation("capture"),
            order([authorization()], [capture("5.00"), capture("5.00", number=2, key=OURS)]),
        ),
        (operation("capture"), order([authorization()], [capture("5.00", key=THEIRS)])),
        (operation("capture"), order([authorization()], [capture("5.01")])),
        (operation("capture"), at_once([capture("5.00")])),
        (operation("refund"), order([authorization()], [capture("5.00")])),
        (operation("cancel"), order([authorization()], [capture("5.00")])),
    ],
    ids=["listed", "another's", "another amount", "at once", "a refund", "a cancel"],
)
def test_what_cannot_be_ours_is_shown_whatever_the_key_is(doubt, found):
    assert shown(found, doubt, FORGOTTEN).effects


# --- what cannot be read ---------------------------------------------------------------------------


ODD = {"id": "X9", "status": "COMPLETED"}  # without an amount


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("capture", order([authorization()], [ODD])),
        ("refund", order([authorization()], [capture("20.00")], [ODD])),
        ("authorize", order([ODD, authorization(number=2)])),
        ("authorize", at_once([ODD])),
        ("refund", at_once([capture("42.00")], [ODD])),
    ],
)
def test_what_cannot_be_read_may_be_an_operation_in_doubt(kind, found):
    with pytest.raises(OutcomeUnknown, match="cannot be read"):
        shown(found, operation(kind))


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("capture", order([authorization()], [ODD, capture("5.00", number=2, key=OURS)])),
        ("refund", order([authorization()], [capture("20.00")], [ODD, refund("5.00", number=2, key=OURS)])),
        ("capture", order([authorization()], [capture("20.00")], [ODD])),
        ("refund", order([authorization()], [ODD, capture("20.00", number=2)])),
        ("capture", order([authorization()], [capture("5.00", "SOMETHING_NEW")])),
        ("cancel", order([authorization()], [ODD])),
    ],
)
def test_what_cannot_be_read_is_no_other_operation(kind, found):
    assert Status.PENDING == shown(found, operation(kind)).status


@pytest.mark.parametrize(
    ("found", "known"),
    [
        (order([authorization()], [capture("20.00"), {**ODD}]), (False, False, True)),
        (order([authorization(), ODD], [capture("20.00")]), (False, True, True)),
        (order([authorization()], [capture("20.00")], [ODD]), (True, True, False)),
        (order([authorization()], [capture("20.00", "SOMETHING_NEW")]), (False, False, True)),
        (order([authorization()], [capture("20.00")]), (True, True, True)),
    ],
)
def test_a_total_that_a_row_may_belong_to_is_not_known(found, known):
    seen = shown(found)
    assert known == (seen.authorized is not None, seen.captured is not None, seen.refunded is not None)
    assert (seen.charged_back is not None) is all(known)
    assert seen.status is (Status.AUTHORIZED if all(known) else Status.PENDING)
    assert seen.data is not None
    assert bool(decode(seen.data).get("unclear")) is not all(known)


def test_a_session_that_is_not_authorized_yet_takes_what_can_be_read():
    found = order([authorization()], [capture("20.00")], [ODD])
    assert Status.AUTHORIZED == shown(found, status=Status.REQUIRES_MORE).status


def test_a_dispute_that_was_named_stays_to_be_asked_for_until_it_was():
    found = order([authorization()], [capture("20.00")])
    assert "PP-D-1" == decode(shown(found, data={"dispute": "PP-D-1"}).data)["dispute"]
    assert "dispute" not in decode(shown(found, asked=True, data={"dispute": "PP-D-1"}).data)


# --- answers ---------------------------------------------------------------------------------------


PAYER = {"payer": {"payer_id": "P1", "email_address": "jenny@example.com"}}


def answer(found, **changes):
    reading = Reading(found, session(Status.REQUIRES_MORE, **changes), NOW)
    return reading.answer(PayPalData.of(reading.session))


@pytest.mark.parametrize(
    ("found", "expected", "amount"),
    [
        (order([authorization()], **PAYER), Answer.AUTHORIZED, "42.00"),
        (
            order([authorization("DENIED"), authorization(number=2, amount="41.00")], **PAYER),
            Answer.AUTHORIZED,
            "41.00",
        ),
        (order([authorization("CAPTURED")], [capture("42.00")], **PAYER), Answer.AUTHORIZED, "42.00"),
        (at_once([capture("42.00")], **PAYER), Answer.CAPTURED, "42.00"),
        (
            at_once([capture("42.00", "DECLINED"), capture("42.00", number=2)], **PAYER),
            Answer.CAPTURED,
            "42.00",
        ),
        (order([authorization("PENDING")], **PAYER), Answer.PENDING, None),
        (at_once([capture("42.00", "PENDING", reason="ECHECK")], **PAYER), Answer.PENDING, None),
        (order([authorization("VOIDED")], **PAYER), Answer.CANCELED, None),
        (order(status="VOIDED", **PAYER), Answer.CANCELED, None),
    ],
)
def test_what_an_order_shows_already_answers_an_authorize(found, expected, amount):
    outcome = answer(found)
    assert expected == outcome.answer
    assert amount is None or eur(amount) == outcome.amount
    assert expected is not Answer.CAPTURED or outcome.released
    assert ("jenny@example.com", "O1", "P1") == (
        outcome.payer.email,
        decode(outcome.data)["order"],
        decode(outcome.data)["payer"],
    )
    assert (END if found.authorizations else BEGUN + timedelta(hours=3)) == outcome.expires_at


def test_a_bank_that_approved_answers_that_it_is_on_its_way():
    assert Answer.PENDING == answer(at_once(status="APPROVED"), data={"payment_source": "ideal"}).answer


@pytest.mark.parametrize("status", ["CREATED", "APPROVED", "PAYER_ACTION_REQUIRED", "SAVED"])
def test_an_order_without_a_payment_is_still_to_be_authorized(status):
    assert answer(order(status=status)) is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (order(), "without a payment"),
        (order([ODD], status="APPROVED"), "cannot be read"),
        (at_once([ODD], status="APPROVED"), "cannot be read"),
        (order([authorization("VOIDED")], [capture("20.00")]), "captured in part and voided"),
    ],
)
def test_a_payment_that_is_not_understood_is_unknown(found, words):
    with pytest.raises(OutcomeUnknown, match=words):
        answer(found)


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (order([authorization("DENIED")]), "AUTHORIZATION_DENIED"),
        (at_once([capture("42.00", "DECLINED")]), "DECLINED"),
        (at_once([capture("42.00", "FAILED", reason="PENDING_REVIEW")]), "PENDING_REVIEW"),
    ],
)
def test_a_payment_that_was_denied_is_declined(found, code):
    with pytest.raises(Declined) as declined:
        answer(found)
    assert (code, "O1") == (declined.value.code, declined.value.data["order"])


def capture_answer(**row):
    found = read_capture(capture("5.00", **row))
    known = PayPalData(captures={"C9": "succeeded"})
    return answer_to_capture(found, session(), operation("capture"), known, END)


def test_a_capture_is_answered_as_it_stands():
    done = capture_answer(key=OURS, final=True)
    assert (Answer.CAPTURED, eur("5.00"), True, "C1", END) == (
        done.answer, done.amount, done.released, done.reference, done.expires_at,
    )  # fmt: skip
    assert {"C9": "succeeded", "C1": "succeeded"} == decode(done.data)["captures"]
    assert not capture_answer(key=OURS).released
    waits = capture_answer(status="PENDING", reason="ECHECK")
    assert (Answer.PENDING, "C1", END) == (waits.answer, waits.reference, waits.expires_at)
    assert {"C9": "succeeded", "C1": "pending"} == decode(waits.data)["captures"]
    with pytest.raises(Declined) as declined:
        capture_answer(status="DECLINED", reason="PENDING_REVIEW")
    assert ("PENDING_REVIEW", "PayPal declined the capture") == (declined.value.code, declined.value.message)


def test_a_refund_is_answered_as_it_stands():
    def refund_answer(**row):
        return answer_to_refund(read_refund(refund("5.00", **row)), session(), operation("refund"))

    done = refund_answer(key=OURS)
    assert (Answer.REFUNDED, eur("5.00"), "R1") == (done.answer, done.amount, done.reference)
    waits = refund_answer(status="PENDING")
    assert (Answer.PENDING, "R1") == (waits.answer, waits.reference)
    with pytest.raises(Declined, match="PayPal could not refund"):
        refund_answer(status="FAILED")
    for key in (THEIRS, "elsewhere"):
        with pytest.raises(OutcomeUnknown, match="the effect"):
            refund_answer(key=key)
        with pytest.raises(OutcomeUnknown, match="the effect"):
            capture_answer(key=key)
