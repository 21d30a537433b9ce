"""What is taken out of Stripe's JSON: PaymentIntents, charges, refunds and disputes."""

from datetime import UTC, datetime, timedelta

import pytest

from paysession.provider import Address, Money, Payer
from paysession_stripe.intent import (
    Capture,
    capture_mark,
    read_customer,
    read_dispute,
    read_intent,
    read_refund,
)

CREATED = 1_767_268_800  # 2026-01-01 12:00 UTC
BEGUN = datetime.fromtimestamp(CREATED, UTC)
INTENT = {
    "object": "payment_intent",
    "id": "pi_1",
    "amount": 4200,
    "amount_capturable": 1200,
    "amount_received": 3000,
    "currency": "eur",
    "status": "requires_capture",
    "client_secret": "pi_1_secret_x",
    "created": CREATED,
    "livemode": True,
    "metadata": {"paysession_session": "ps_1"},
}
CHARGE = {"object": "charge", "id": "ch_1", "created": CREATED + 60, "disputed": False}
REFUND = {"object": "refund", "id": "re_1", "amount": 500, "currency": "eur", "created": CREATED}
DISPUTE = {"object": "dispute", "id": "dp_1", "amount": 4200, "currency": "eur", "status": "lost"}


def eur(amount):
    return Money(amount, "EUR")


def intent(**more):
    return read_intent({**INTENT, **more})


def charge(details=None, **more):
    """Return the charge of a PaymentIntent; ``details``: of a card."""
    used = {"payment_method_details": {"type": "card", "card": details}} if details is not None else {}
    return intent(latest_charge={**CHARGE, **used, **more}).charge


def metadata(**marks):
    return {"paysession_session": "ps_1", **marks}


# --- a PaymentIntent -------------------------------------------------------------------------------


def test_a_payment_intent_is_read_whole():
    found = intent(
        payment_method="pm_1",
        cancellation_reason="abandoned",
        next_action={"type": "redirect_to_url", "redirect_to_url": {"url": "https://bank.example"}},
        last_payment_error={
            "type": "card_error",
            "code": "card_declined",
            "decline_code": "lost_card",
            "message": "No.",
        },
    )
    assert (eur("42.00"), eur("12.00"), eur("30.00")) == (found.amount, found.capturable, found.received)
    assert ("pi_1", "requires_capture", "ps_1", "pi_1_secret_x", "pm_1", "abandoned", True) == (
        found.id, found.status, found.session_id, found.client_secret, found.payment_method,
        found.canceled_for, found.livemode,
    )  # fmt: skip
    assert ("https://bank.example", "lost_card", "No.") == (
        found.redirect,
        found.error.code,
        found.error.message,
    )
    assert (eur("42.00"), None, ()) == (found.authorized, found.charge, found.captures)


@pytest.mark.parametrize(
    "name", ["id", "status", "currency", "amount", "amount_capturable", "amount_received"]
)
def test_without_what_nothing_can_be_said_an_intent_is_not_read(name):
    for value in (None, "", 1.5, True):
        with pytest.raises(ValueError, match=f"has no {name}"):
            intent(**{name: value})


@pytest.mark.parametrize(
    ("read", "good"),
    [
        (read_intent, INTENT),
        (read_refund, REFUND),
        (read_dispute, DISPUTE),
        (read_customer, {"object": "customer", "id": "cus_1"}),
    ],
)
def test_one_object_is_not_read_for_another(read, good):
    assert read(good)
    for wrong in ({**good, "object": "event"}, {**good, "object": None}, {"id": "x"}):
        with pytest.raises(ValueError, match="is no"):
            read(wrong)


@pytest.mark.parametrize(
    ("status", "received", "holds"),
    [
        ("requires_capture", 0, True),
        ("succeeded", 1, True),
        ("canceled", 0, False),
        ("processing", 0, False),
        ("requires_action", 0, False),
        ("requires_action", 1000, False),  # a part of a bank transfer
    ],
)
def test_a_payment_intent_holds_what_is_authorized_or_was_taken(status, received, holds):
    assert holds is intent(status=status, amount_received=received, amount_capturable=0).holds


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            {"type": "card_error", "code": "card_declined", "decline_code": "lost_card"},
            "lost_card",
            "lost_card",
        ),
        ({"type": "card_error", "code": "expired_card", "message": "Old."}, "expired_card", "Old."),
        ({"type": "invalid_request_error"}, "invalid_request_error", "invalid_request_error"),
        ({}, "declined", "declined"),
    ],
)
def test_an_error_is_named_by_the_most_that_stripe_says(error, code, message):
    found = intent(last_payment_error=error).error
    assert (code, message) == (found.code, found.message)


def test_the_issuers_advice_decides_what_may_follow():
    declined = {"type": "card_error", "code": "card_declined", "decline_code": "generic_decline"}
    plain = intent(last_payment_error=declined).error
    never = intent(last_payment_error={**declined, "advice_code": "do_not_try_again"}).error
    assert plain.category != never.category
    lost = intent(last_payment_error={**declined, "decline_code": "insufficient_funds"}).error
    assert plain.payer_message_key != lost.payer_message_key


@pytest.mark.parametrize("value", ["pm_1", {"id": "pm_1", "object": "payment_method"}])
def test_a_payment_method_is_known_by_its_id_however_it_is_shown(value):
    assert "pm_1" == intent(payment_method=value).payment_method == intent(payment_method=value).keepable
    assert intent(payment_method="").payment_method is None


@pytest.mark.parametrize(
    ("action", "until"),
    [
        ({"type": "oxxo_display_details", "oxxo_display_details": {"expires_after": CREATED + 60}}, 60),
        ({"type": "konbini_display_details", "konbini_display_details": {"expires_at": CREATED + 90}}, 90),
        ({"type": "pix_display_qr_code", "pix_display_qr_code": {"expires_at": CREATED + 9, "expires_after": CREATED}}, 9),
        ({"type": "display_bank_transfer_instructions", "display_bank_transfer_instructions": {}}, 30 * 86_400),
        ({"type": "redirect_to_url", "redirect_to_url": {"url": "https://bank.example"}}, None),
        (None, None),
    ],
)  # fmt: skip
def test_what_a_payer_was_shown_can_be_paid_until_a_time(action, until):
    found = intent(next_action=action).payable_until
    assert found == (None if until is None else BEGUN + timedelta(seconds=until))


def test_a_bank_transfer_of_no_known_beginning_has_no_end():
    action = {"type": "display_bank_transfer_instructions", "display_bank_transfer_instructions": {}}
    assert intent(next_action=action, created=None).payable_until is None


@pytest.mark.parametrize("value", [None, True, "2026", 1.5, 10**30, -(10**30)])
def test_a_time_that_is_none_is_left_out(value):
    assert read_refund({**REFUND, "created": value}).created_at is None


# --- our marks -------------------------------------------------------------------------------------


def test_captures_of_ours_are_known_by_their_marks_alone():
    found = intent(
        metadata=metadata(
            paysession_capture_3="ps_1-3 1000 3",
            paysession_capture_4="ps_1-4 2000",  # as it was written first, without a number
            paysession_capture_5="ps_1-5 ten 5",
            paysession_capture_6="ps_1-6 1000 6 more",
            paysession_capture_7="",
            theirs="ps_1-8 1000 8",
        )
    )
    assert (Capture("ps_1-3", eur("10.00")), Capture("ps_1-4", eur("20.00"))) == found.captures


def test_a_mark_counts_as_stripe_does():
    found = intent(currency="ugx", amount=50_000, amount_capturable=0, amount_received=50_000,
                   metadata=metadata(paysession_capture_3="ps_1-3 50000 3"))  # fmt: skip
    assert (Capture("ps_1-3", Money("500", "UGX")),) == found.captures
    assert Money("500", "UGX") == found.received


def test_a_mark_is_written_under_the_end_of_its_key_or_over_another(values):
    session = values.session(id="ps_1")
    operation = values.operation(session, "capture", ordinal=3, id="ps_1-3-abc")
    assert {"paysession_capture_3_abc": "ps_1-3-abc 1000 3"} == capture_mark(operation, 1000)
    assert {"old": "ps_1-3-abc 1000 3"} == capture_mark(operation, 1000, "old")


@pytest.mark.parametrize(
    ("others", "reuse"), [(41, None), (42, "paysession_capture_9"), (47, "paysession_capture_9")]
)
def test_the_oldest_mark_makes_room_when_there_is_none(others, reuse):
    marks = {"paysession_capture_10": "ps_1-10 100 10", "paysession_capture_9": "ps_1-9 100 9"}
    rest = {f"shop_{number}": "x" for number in range(others)}
    assert reuse == intent(metadata=metadata(**marks, **rest)).reuse


def test_a_mark_without_a_number_is_the_oldest_and_what_is_no_mark_makes_no_room():
    marks = {"paysession_capture_10": "ps_1-10 100 10", "paysession_capture_11": "ps_1-11 100"}
    rest = {f"shop_{number}": "x" for number in range(45)}
    assert "paysession_capture_11" == intent(metadata=metadata(**marks, **rest)).reuse
    assert intent(metadata=metadata(**rest, paysession_capture_1="no mark")).reuse is None
    assert intent(metadata=metadata(**rest, theirs="ps_1-1 100 1")).reuse is None


# --- a charge --------------------------------------------------------------------------------------


def test_a_charge_may_be_shown_by_its_id():
    found = intent(latest_charge="ch_1").charge
    assert ("ch_1", (), False) == (found.id, found.refunds, found.disputed)
    assert intent(latest_charge=None).charge is None
    with pytest.raises(ValueError, match="no object"):
        intent(latest_charge=7)


def test_a_charge_says_whether_it_is_disputed_and_what_was_given_back():
    found = charge(disputed=True, refunds={"data": [{**REFUND, "id": "re_2"}, REFUND]})
    assert (True, ["re_2", "re_1"]) == (found.disputed, [row.id for row in found.refunds])
    assert () == charge(refunds=None).refunds
    with pytest.raises(ValueError, match="has no amount"):
        charge(refunds={"data": [{**REFUND, "amount": None}]})


def test_a_card_is_held_as_long_as_stripe_says_and_another_as_long_as_is_known():
    week = timedelta(days=7)
    assert BEGUN + timedelta(days=5) == charge({"capture_before": CREATED + 5 * 86_400}).capture_before
    assert BEGUN + timedelta(seconds=60) + week == charge({}).capture_before
    assert BEGUN + week == charge({}, created=None).capture_before
    assert intent(created=None, latest_charge={**CHARGE, "created": None}).charge.capture_before is None
    paypal = {"payment_method_details": {"type": "paypal", "paypal": {}}}
    assert BEGUN + timedelta(days=10, seconds=60) == charge(**paypal).capture_before


@pytest.mark.parametrize("status", ["succeeded", "canceled", "processing"])
def test_only_what_is_held_can_be_captured_until_a_time(status):
    shown = {**CHARGE, "payment_method_details": {"type": "card", "card": {"capture_before": CREATED + 60}}}
    assert intent(status=status, latest_charge=shown).capture_before is None
    assert BEGUN + timedelta(seconds=60) == intent(latest_charge=shown).capture_before
    assert intent(latest_charge=None).capture_before is None


@pytest.mark.parametrize(
    ("details", "kept", "kept_as"),
    [
        ({"type": "card", "card": {}}, None, "card"),
        ({"type": "ideal", "ideal": {"generated_sepa_debit": "pm_debit"}}, "pm_debit", "sepa_debit"),
        ({"type": "ideal", "ideal": {"generated_sepa_debit": {"id": "pm_debit"}}}, "pm_debit", "sepa_debit"),
        ({"type": "card_present", "card_present": {"generated_card": "pm_card"}}, "pm_card", "card"),
        ({"type": "ideal", "ideal": {}}, None, "ideal"),
        ({}, None, None),
        (None, None, None),
    ],
)
def test_what_can_be_charged_again_is_what_the_payment_leaves_behind(details, kept, kept_as):
    found = intent(payment_method="pm_1", latest_charge={**CHARGE, "payment_method_details": details})
    assert (kept, kept_as) == (found.charge.kept, found.charge.kept_as)
    assert (kept or "pm_1") == found.keepable


def test_what_the_payer_paid_with_is_told_of_the_charge():
    assert ("card", "4242") == (charge({"last4": "4242"}).method.type, charge({"last4": "4242"}).method.last4)
    assert charge().method is None


@pytest.mark.parametrize(("status", "available"), [("available", True), ("unavailable", False), (None, None)])
def test_what_some_accounts_are_given_is_said_by_the_charge(status, available):
    found = charge({"multicapture": {"status": status}})
    assert (available, None) == (found.multicapture, found.incremental)
    found = charge({"incremental_authorization": {"status": status}})
    assert (None, available) == (found.multicapture, found.incremental)


def test_the_payer_is_who_the_payment_names():
    address = {
        "line1": "Long St 1",
        "line2": "3rd",
        "city": "Bonn",
        "postal_code": "53111",
        "country": "DE",
        "state": "NW",
    }
    found = charge(billing_details={"name": "Jenny Rosen", "email": "jenny@example.com", "address": address})
    place = Address(
        line1="Long St 1", line2="3rd", city="Bonn", postal_code="53111", country="DE", region="NW"
    )
    assert Payer(name="Jenny Rosen", email="jenny@example.com", address=place) == found.payer
    nowhere = charge(billing_details={"name": "Jenny Rosen", "address": {"city": None}}).payer
    assert Payer(name="Jenny Rosen") == nowhere
    assert charge(billing_details={"name": None, "address": {}}).payer is None


def test_what_stripe_kept_and_what_remains_are_of_the_balance():
    found = charge(balance_transaction={"currency": "usd", "fee": 150, "net": 4000})
    assert (Money("1.50", "USD"), Money("40.00", "USD")) == (found.fee, found.net)
    loss = charge(balance_transaction={"currency": "usd", "fee": 150, "net": -50})
    assert (Money("1.50", "USD"), None) == (loss.fee, loss.net)
    for unknown in (None, "txn_1", {"fee": 150, "net": 4000}):
        assert (None, None) == (
            charge(balance_transaction=unknown).fee,
            charge(balance_transaction=unknown).net,
        )


# --- refunds and disputes --------------------------------------------------------------------------


def test_a_refund_is_read_whole():
    found = read_refund(
        {**REFUND, "status": "failed", "failure_reason": "expired_or_canceled_card",
         "metadata": {"paysession_operation": "ps_1-4"}}
    )  # fmt: skip
    assert ("re_1", eur("5.00"), "failed", "ps_1-4", BEGUN, "expired_or_canceled_card") == (
        found.id, found.amount, found.status, found.key, found.created_at, found.failure,
    )  # fmt: skip
    plain = read_refund({**REFUND, "status": None, "metadata": {"paysession_session": "ps_1"}})
    assert ("succeeded", None, None) == (plain.status, plain.key, plain.failure)


def test_a_dispute_is_read_whole():
    found = read_dispute(
        {**DISPUTE, "reason": "fraudulent", "evidence_details": {"due_by": CREATED + 60}, "created": CREATED}
    )
    assert ("dp_1", eur("42.00"), "lost", "fraudulent", BEGUN, BEGUN + timedelta(seconds=60), None) == (
        found.id, found.amount, found.status, found.reason, found.created_at, found.due_at, found.fee,
    )  # fmt: skip
    bare = read_dispute(DISPUTE)
    assert (None, None, None) == (bare.reason, bare.due_at, bare.created_at)


@pytest.mark.parametrize(
    ("moved", "fee"),
    [
        ([("eur", 1500)], "15.00 EUR"),
        ([("eur", 1500), ("eur", 0)], "15.00 EUR"),
        ([("eur", 1500), ("eur", 2000)], "35.00 EUR"),
        ([("jpy", 1500)], "1500 JPY"),
        ([("jpy", 1)], "1 JPY"),
        ([("eur", 1500), ("eur", 1500), ("eur", -1500)], "15.00 EUR"),
        ([("eur", 1500), ("eur", -1500)], None),
        ([("isk", 1550)], None),
        ([("eur", 0)], None),
        ([("eur", 1500), ("usd", 1500)], None),
        ([], None),
    ],
)
def test_the_fee_of_a_dispute_is_that_of_all_that_it_moved_and_did_not_return(moved, fee):
    rows = [{"currency": currency, "fee": minor, "net": -minor} for currency, minor in moved]
    found = read_dispute({**DISPUTE, "balance_transactions": rows}).fee
    assert fee == (str(found) if found is not None else None)


def test_a_fee_that_cannot_be_read_is_left_out():
    rows = ["txn_1", {"fee": 1500}, {"currency": "eur"}, {"currency": "eur", "fee": 1500}]
    assert eur("15.00") == read_dispute({**DISPUTE, "balance_transactions": rows}).fee


@pytest.mark.parametrize(
    ("amounts", "withdrawn"),
    [([-4200], True), ([-4200, 4200], False), ([-4200, 4100], True), ([], False), ([None], False)],
)
def test_a_dispute_says_whether_money_was_withdrawn_and_not_returned(amounts, withdrawn):
    rows = [{"currency": "eur", "amount": amount, "fee": 0, "net": amount} for amount in amounts]
    assert withdrawn is read_dispute({**DISPUTE, "balance_transactions": rows}).withdrawn
