"""What a PaymentIntent proves about its session, read from Stripe's JSON without any request."""

from datetime import UTC, datetime

import pytest
from attrs import evolve

from paysession.provider import Answer, Declined, Kind, Money, OutcomeUnknown, Redirect, Status
from paysession.values import decode
from paysession_stripe import evidence
from paysession_stripe.data import StripeData
from paysession_stripe.evidence import Browser, read, snapshot
from paysession_stripe.intent import read_dispute, read_intent, read_refund
from paysession_stripe.page import read_page

JANUARY = 1_767_268_800  # 2026-01-01 12:00 UTC


def eur(amount):
    return Money(amount, "EUR")


def refund(number, amount, status="succeeded", *, key=None, created=JANUARY):
    return {
        "object": "refund",
        "id": f"re_{number}",
        "amount": amount,
        "currency": "eur",
        "status": status,
        "created": created,
        "metadata": {} if key is None else {"paysession_operation": key},
    }


def dispute(number, amount, status, **more):
    found = {
        "object": "dispute",
        "id": f"dp_{number}",
        "amount": amount,
        "currency": "eur",
        "status": status,
        "created": JANUARY + number,
        "reason": "fraudulent",
        "evidence_details": {"due_by": JANUARY + 1_209_600},
        "balance_transactions": [],
    }
    return read_dispute({**found, **more})


def intent(status="succeeded", *, received=4200, capturable=0, refunds=(), captures=(), **more):
    """Return a PaymentIntent of 42.00 EUR; ``captures``: the marks of ours, as key and amount."""
    marks = {
        f"paysession_capture_{number}": f"{key} {amount} {number}"
        for number, (key, amount) in enumerate(captures)
    }
    return read_intent(
        {
            "object": "payment_intent",
            "id": "pi_1",
            "amount": 4200,
            "amount_capturable": capturable,
            "amount_received": received,
            "currency": "eur",
            "status": status,
            "client_secret": "pi_1_secret_x",
            "created": JANUARY,
            "metadata": {"paysession_session": "ps_1", **marks},
            "latest_charge": {
                "object": "charge",
                "id": "ch_1",
                "created": JANUARY,
                "refunds": {"object": "list", "data": [*reversed(refunds)], "has_more": False},
            },
            **more,
        }
    )


@pytest.fixture
def session(values):
    return values.session(id="ps_1", reference="pi_1", status=Status.AUTHORIZED, authorized=4200)


def page(status="open", **more):
    """Return a page of Stripe's for 42.00 EUR."""
    return read_page(
        {
            "object": "checkout.session",
            "id": "cs_1",
            "status": status,
            "amount_total": 4200,
            "currency": "eur",
            "url": "https://checkout.stripe.com/c/pay/cs_1" if status == "open" else None,
            "expires_at": JANUARY + 86_400,
            "metadata": {"paysession_session": "ps_1"},
            **more,
        }
    )


@pytest.fixture
def shown(session):
    """Return a function that returns what a lookup of a PaymentIntent shows."""

    def shown(found, disputes=(), operation=None, **changes):
        reading = read(found, evolve(session, **changes), StripeData(payment_intent="pi_1"), Browser())
        return snapshot(reading, disputes, operation)

    return shown


def of_kind(found, kind):
    return [effect for effect in found.effects if effect.kind is kind]


# --- how it stands ---------------------------------------------------------------------------------


HELD = intent("requires_capture", received=0, capturable=4200)
DONE_AT_A_PAGE = {
    "object": "charge",
    "id": "ch_1",
    "created": JANUARY,
    "billing_details": {"name": "Jenny Rosen", "email": "jenny@example.com"},
    "payment_method_details": {"type": "card", "card": {"capture_before": JANUARY + 604_800}},
}
WEEK = datetime.fromtimestamp(JANUARY + 604_800, UTC)
UNPAID = {"status": Status.PENDING, "authorized": 0}
VOUCHER = intent("requires_action", received=0)
ERROR = {"type": "card_error", "code": "card_declined", "decline_code": "lost_card", "message": "No."}


@pytest.mark.parametrize(
    ("status", "received", "capturable", "expected", "authorized"),
    [
        ("requires_payment_method", 0, 0, Status.PENDING, None),
        ("requires_confirmation", 0, 0, Status.PENDING, None),
        ("requires_action", 0, 0, Status.REQUIRES_MORE, None),
        ("processing", 0, 0, Status.PENDING, None),
        ("requires_capture", 0, 4200, Status.AUTHORIZED, eur("42.00")),
        ("requires_capture", 1000, 3200, Status.AUTHORIZED, eur("42.00")),
        ("succeeded", 1000, 0, Status.AUTHORIZED, eur("10.00")),
        ("canceled", 0, 0, Status.CANCELED, eur("0.00")),
        ("canceled", 1000, 0, Status.AUTHORIZED, eur("10.00")),
        ("something_new", 0, 0, Status.PENDING, None),
    ],
)
def test_each_status_of_stripes_is_one_of_ours(shown, status, received, capturable, expected, authorized):
    found = shown(intent(status, received=received, capturable=capturable))
    assert (expected, authorized) == (found.status, found.authorized)
    assert (eur("42.00"), Money.from_minor(received, "EUR")) == (found.amount, found.captured)
    assert ("ps_1", "pi_1") == (found.session_id, found.reference)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("requires_payment_method", []),
        ("requires_confirmation", []),
        ("requires_action", []),
        ("processing", ["pending"]),
        ("something_new", ["pending"]),
        ("requires_capture", []),
    ],
)
def test_an_authorization_is_on_its_way_once_the_payer_has_done_their_part(shown, status, expected):
    found = of_kind(shown(intent(status, received=0)), Kind.AUTHORIZE)
    assert expected == [one.state for one in found]
    assert all(one.amount == eur("42.00") for one in found)


def test_a_lookup_shows_until_when_who_pays_and_what_they_are_to_do(shown):
    held = shown(intent("requires_capture", received=0, capturable=4200, latest_charge=DONE_AT_A_PAGE))
    assert (WEEK, "Jenny Rosen", None) == (held.expires_at, held.payer.name, held.next_action)
    assert "requires_capture" == decode(held.data)["status"]
    voucher = {"type": "oxxo_display_details", "oxxo_display_details": {"expires_after": JANUARY + 604_800}}
    waits = shown(intent("requires_action", received=0, next_action=voucher))
    assert (WEEK, "stripe.next_action") == (waits.expires_at, waits.next_action.kind)
    bank = {"type": "redirect_to_url", "redirect_to_url": {"url": "https://bank.example"}}
    sent = shown(intent("requires_action", received=0, next_action=bank))
    assert (None, Redirect("https://bank.example")) == (sent.expires_at, sent.next_action)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("requires_payment_method", "lost_card"),
        ("requires_confirmation", None),
        ("requires_action", None),
        ("processing", None),
        ("requires_capture", None),
        ("succeeded", None),
    ],
)
def test_an_attempt_that_failed_is_an_error_until_the_next_one(shown, status, code):
    found = shown(intent(status, received=0, last_payment_error=ERROR))
    assert code == (found.error.code if found.error is not None else None)
    assert (code is not None) is (found.status is Status.ERROR)


# --- captures --------------------------------------------------------------------------------------


def captures_of(found):
    return [(one.amount, one.reference, one.key) for one in of_kind(found, Kind.CAPTURE)]


def test_the_charge_names_a_capture_only_once_there_can_be_no_other(shown):
    ours = [("ps_1-3", 1000)]
    first = intent("requires_capture", received=1000, capturable=3200, captures=ours)
    assert [(eur("10.00"), None, "ps_1-3")] == captures_of(shown(first))
    last = intent(received=1000, captures=ours)
    assert [(eur("10.00"), "ch_1", "ps_1-3")] == captures_of(shown(last))
    several = intent(received=3000, captures=[*ours, ("ps_1-4", 2000)])
    assert [(eur("10.00"), None, "ps_1-3"), (eur("20.00"), None, "ps_1-4")] == captures_of(shown(several))


def test_what_is_given_back_names_its_capture_only_once_there_can_be_no_other(shown):
    first = intent("requires_capture", received=1000, capturable=3200, refunds=[refund(1, 500)])
    last = intent(received=1000, refunds=[refund(1, 500)])
    for found, capture in ((first, None), (last, "ch_1")):
        effects = shown(found, [dispute(1, 500, "lost")]).effects
        assert [capture, capture] == [one.capture for one in effects if one.kind is not Kind.CAPTURE]


def test_what_others_captured_besides_ours_is_an_effect_of_its_own(shown):
    found = intent(captures=[("ps_1-3", 1000)])
    assert [(eur("10.00"), None, "ps_1-3"), (eur("32.00"), "ch_1", "")] == captures_of(shown(found))
    known = shown(found, captured=1000)
    assert [(eur("10.00"), None, "ps_1-3"), (eur("32.00"), "ch_1", "")] == captures_of(known)
    assert [(eur("10.00"), None, "ps_1-3")] == captures_of(shown(found, captured=4200))


def test_the_last_cent_that_others_captured_is_seen(shown):
    assert [(eur("0.01"), "ch_1", "")] == captures_of(shown(intent(), captured=4199))
    marked = intent(captures=[("ps_1-3", 4199)])
    assert (eur("0.01"), "ch_1", "") in captures_of(shown(marked))


def test_marks_of_more_than_was_received_are_not_believed(shown):
    found = shown(intent(received=1000, captures=[("ps_1-3", 1001)]))
    assert ([], eur("10.00")) == (captures_of(found), found.captured)


def test_a_mark_of_nothing_is_no_capture(shown):
    found = intent(received=1000, captures=[("ps_1-3", 1000), ("ps_1-4", 0)])
    assert [(eur("10.00"), "ch_1", "ps_1-3")] == captures_of(shown(found))


def test_a_payment_that_shows_no_charge_is_read_all_the_same(shown):
    found = intent(latest_charge=None)
    assert [(eur("42.00"), None, "")] == captures_of(shown(found))
    assert [(eur("42.00"), None, "ps_1-3")] == captures_of(
        shown(intent(latest_charge=None, captures=[("ps_1-3", 4200)]))
    )


# --- an operation in doubt is refuted only by what leaves no room for it ---------------------------


OURS = "ps_1-9"


@pytest.mark.parametrize(
    ("kind", "found", "code"),
    [
        ("capture", intent(), "payment_intent_succeeded"),
        ("capture", intent("canceled", received=1000), "payment_intent_canceled"),
        ("capture", intent(captures=[("ps_1-8", 4200)]), "payment_intent_succeeded"),
        ("refund", intent(refunds=[refund(1, 4200)]), "charge_already_refunded"),
        ("refund", intent(received=1000, refunds=[refund(1, 1000)]), "charge_already_refunded"),
        ("refund", intent(refunds=[refund(1, 4000), refund(2, 200)]), "charge_already_refunded"),
        ("cancel", intent(), "already_captured"),
    ],
)
def test_an_operation_that_can_no_longer_happen_is_refuted(shown, session, values, kind, found, code):
    operation = values.operation(session, kind, eur("5.00"), 9)
    ours = shown(found, operation=operation).effects[0]
    assert (operation.kind, "failed", operation.key) == (ours.kind, ours.state, ours.key)
    assert (eur("5.00"), code) == (ours.amount, ours.error.code)


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("capture", intent("requires_capture", received=1000, capturable=3200)),
        ("capture", intent("requires_capture", received=1000, capturable=3200, refunds=[refund(1, 1000)])),
        ("cancel", intent("requires_capture", received=1000, capturable=3200, refunds=[refund(1, 1000)])),
        ("capture", intent("canceled", received=0)),  # its status and its totals say it all
        ("refund", intent("canceled", received=0)),
        ("capture", intent(captures=[(OURS, 4200)])),
        ("refund", intent(refunds=[refund(1, 4199)])),
        ("refund", intent(refunds=[refund(1, 4200, "pending")])),
        ("refund", intent(refunds=[refund(1, 4200, "failed")])),
        ("refund", intent(refunds=[refund(1, 4200, key=OURS)])),
        ("cancel", intent("requires_capture", received=4200)),
        ("cancel", intent(received=1000)),
        ("update", intent()),
    ],
)
def test_an_operation_that_may_still_happen_or_has_happened_is_not_refuted(
    shown, session, values, kind, found
):
    operation = values.operation(session, kind, eur("5.00"), 9)
    assert OURS == operation.key
    theirs = shown(found).effects
    assert theirs == shown(found, operation=operation).effects


def test_a_refund_in_doubt_is_refuted_by_a_dispute_that_took_the_rest(shown, session, values):
    operation = values.operation(session, "refund", eur("5.00"), 9)
    found = intent(refunds=[refund(1, 1200)])
    lost = shown(found, [dispute(1, 3000, "lost")], operation)
    assert "charge_already_refunded" == lost.effects[0].error.code
    won = shown(found, [dispute(1, 3000, "won")], operation)
    assert ["succeeded"] == [effect.state for effect in of_kind(won, Kind.REFUND)]


# --- refunds ---------------------------------------------------------------------------------------


def test_a_refund_in_a_status_that_is_not_known_moves_nothing_yet(shown):
    found = shown(intent(refunds=[refund(1, 500, "something_new")]))
    assert ["pending"] == [one.state for one in of_kind(found, Kind.REFUND)]
    assert eur("0.00") == found.refunded


def test_refunds_are_told_from_the_first_and_only_the_settled_ones_count(shown):
    found = shown(
        intent(
            refunds=[
                refund(1, 500, key="ps_1-5"),
                refund(2, 600, "pending"),
                refund(3, 700, "failed"),
                refund(4, 800, "canceled"),
                refund(5, 900, created=JANUARY + 60),
            ]
        )
    )
    assert [
        ("re_1", "ps_1-5", "succeeded", eur("5.00")),
        ("re_2", "re_2", "pending", eur("6.00")),
        ("re_3", "re_3", "failed", eur("7.00")),
        ("re_4", "re_4", "failed", eur("8.00")),
        ("re_5", "re_5", "succeeded", eur("9.00")),
    ] == [(one.reference, one.key, one.state, one.amount) for one in of_kind(found, Kind.REFUND)]
    assert eur("14.00") == found.refunded


def test_a_refund_that_nobody_here_made_is_dated_by_stripe_and_ours_by_its_key(shown):
    found = shown(intent(refunds=[refund(1, 500, key="ps_1-5"), refund(2, 500)]))
    dates = [one.created_at for one in of_kind(found, Kind.REFUND)]
    assert [None, datetime.fromtimestamp(JANUARY, UTC)] == dates


def test_a_refund_that_failed_at_the_bank_says_why(shown):
    row = {**refund(1, 500, "failed"), "failure_reason": "lost_or_stolen_card"}
    other = refund(2, 500, "canceled")
    done = shown(intent(refunds=[refund(3, 500), refund(4, 500, "pending")]))
    assert [None, None] == [one.error for one in of_kind(done, Kind.REFUND)]
    errors = [one.error for one in of_kind(shown(intent(refunds=[row, other])), Kind.REFUND)]
    assert ["lost_or_stolen_card", "refund_failed"] == [error.code for error in errors]


# --- disputes --------------------------------------------------------------------------------------


def test_disputes_are_told_from_the_first_with_their_dates(shown):
    found = shown(intent(), [dispute(2, 1000, "needs_response"), dispute(1, 2000, "lost")])
    rows = [(one.reference, one.amount, one.created_at) for one in of_kind(found, Kind.CHARGEBACK)]
    assert [
        ("dp_1", eur("20.00"), datetime.fromtimestamp(JANUARY + 1, UTC)),
        ("dp_2", eur("10.00"), datetime.fromtimestamp(JANUARY + 2, UTC)),
    ] == rows
    assert eur("30.00") == found.charged_back


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("won", "dispute_won"),
        ("warning_closed", "dispute_warning_closed"),
        ("prevented", "dispute_prevented"),
        ("lost", None),
        ("under_review", None),
        ("warning_needs_response", None),
    ],
)
def test_a_dispute_that_is_over_for_nothing_says_how_it_ended(shown, status, code):
    (one,) = of_kind(shown(intent(), [dispute(1, 4200, status)]), Kind.CHARGEBACK)
    assert code == (one.error.code if one.error is not None else None)


@pytest.mark.parametrize(
    ("amounts", "status", "state", "charged_back"),
    [
        ([-4200], "lost", "succeeded", "42.00"),
        ([], "won", "failed", "0.00"),
        ([-4200, 4200], "won", "failed", "0.00"),
    ],
)
def test_a_prevented_dispute_took_what_was_withdrawn_for_it(shown, amounts, status, state, charged_back):
    rows = [{"object": "balance_transaction", "currency": "eur", "amount": amount} for amount in amounts]
    found = shown(intent(), [dispute(1, 4200, "prevented", balance_transactions=rows)])
    (one,) = of_kind(found, Kind.CHARGEBACK)
    assert (status, state, eur(charged_back)) == (one.dispute.status, one.state, found.charged_back)
    assert (one.error is None) is (state == "succeeded")


def test_a_dispute_that_holds_the_money_is_open_with_its_reason_its_end_and_its_fee(shown):
    rows = [{"object": "balance_transaction", "currency": "eur", "amount": -4200, "fee": 1500, "net": -5700}]
    found = shown(intent(), [dispute(1, 4200, "needs_response", balance_transactions=rows)])
    (one,) = of_kind(found, Kind.CHARGEBACK)
    assert ("opened", "fraudulent", eur("15.00"), "dp_1") == (
        one.dispute.status,
        one.dispute.reason,
        one.dispute.fee,
        one.key,
    )
    assert datetime.fromtimestamp(JANUARY + 1_209_600, UTC) == one.dispute.evidence_due_by
    assert ("succeeded", eur("42.00")) == (one.state, found.charged_back)


def test_a_dispute_in_a_status_that_is_not_known_is_open_and_took_nothing_yet(shown):
    found = shown(intent(), [dispute(1, 4200, "something_new")])
    (one,) = of_kind(found, Kind.CHARGEBACK)
    assert ("opened", "pending", eur("0.00")) == (one.dispute.status, one.state, found.charged_back)


def test_a_dispute_in_another_currency_is_of_all_that_was_captured(shown):
    found = shown(intent(received=3000), [dispute(1, 3300, "lost", currency="usd")])
    assert eur("30.00") == found.charged_back


def test_disputes_that_cannot_be_read_leave_what_they_took_open(shown):
    assert shown(intent(), None).charged_back is None
    assert eur("0.00") == shown(intent(), ()).charged_back


# --- answers ---------------------------------------------------------------------------------------


@pytest.fixture
def reading(session):
    """Return a function that reads a PaymentIntent, or a page and the PaymentIntent that it made."""

    def reading(found, at=None, **changes):
        return read(found, evolve(session, **changes), StripeData(payment_intent="pi_1"), Browser("pk_1"), at)

    return reading


def test_what_is_held_is_an_authorization_with_its_end_and_its_payer(reading):
    found = intent("requires_capture", received=1000, capturable=3200, latest_charge=DONE_AT_A_PAGE)
    outcome = evidence.authorization(reading(found))
    assert (Answer.AUTHORIZED, eur("42.00"), WEEK) == (outcome.answer, outcome.amount, outcome.expires_at)
    assert ("Jenny Rosen", "pi_1") == (outcome.payer.name, outcome.reference)


@pytest.mark.parametrize("status", ["succeeded", "canceled"])
def test_what_was_captured_answers_an_authorize_and_holds_no_more(reading, status):
    outcome = evidence.authorization(reading(intent(status, received=1000, latest_charge=DONE_AT_A_PAGE)))
    assert (Answer.CAPTURED, eur("10.00"), True) == (outcome.answer, outcome.amount, outcome.released)
    assert ("Jenny Rosen", "pi_1") == (outcome.payer.name, outcome.reference)


def test_an_authorize_of_what_was_canceled_is_canceled(reading):
    outcome = evidence.authorization(reading(intent("canceled", received=0)))
    assert (Answer.CANCELED, "pi_1") == (outcome.answer, outcome.reference)


def test_a_failed_attempt_is_a_decline_once_and_then_another_try(reading):
    failed = intent("requires_payment_method", received=0, last_payment_error=ERROR)
    with pytest.raises(Declined) as declined:
        evidence.authorization(reading(failed, **UNPAID))
    assert ("lost_card", "pi_1", "No.") == (
        declined.value.code,
        declined.value.reference,
        declined.value.message,
    )
    again = evidence.authorization(reading(failed, status=Status.ERROR, authorized=0))
    assert (Answer.REQUIRES_MORE, "stripe.payment_element") == (again.answer, again.next_action.kind)


def test_the_failure_before_is_no_decline_of_an_attempt_that_waits_for_its_payer(reading):
    outcome = evidence.authorization(
        reading(intent("requires_action", received=0, last_payment_error=ERROR), **UNPAID)
    )
    assert (Answer.REQUIRES_MORE, "stripe.next_action", "pi_1") == (
        outcome.answer,
        outcome.next_action.kind,
        outcome.reference,
    )
    assert "requires_action" == decode(outcome.data)["status"]


def test_what_ended_an_authorize_is_kept_with_the_session(reading):
    for status, received in (("succeeded", 4200), ("canceled", 0)):
        outcome = evidence.authorization(reading(intent(status, received=received), **UNPAID))
        assert status == decode(outcome.data)["status"]


def test_an_authorize_that_nobody_need_act_on_is_pending(reading):
    outcome = evidence.authorization(reading(intent("processing", received=0), **UNPAID))
    assert (Answer.PENDING, "pi_1") == (outcome.answer, outcome.reference)


def test_a_raise_is_all_that_is_authorized_now(reading):
    found = intent("requires_capture", received=0, capturable=5000, latest_charge=DONE_AT_A_PAGE)
    outcome = evidence.raised(reading(found))
    assert (eur("50.00"), WEEK, "pi_1") == (outcome.amount, outcome.expires_at, outcome.reference)
    assert "requires_capture" == decode(outcome.data)["status"]
    with pytest.raises(OutcomeUnknown, match="after it was raised"):
        evidence.raised(reading(intent()))


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("succeeded", Answer.REFUNDED),
        ("pending", Answer.PENDING),
        ("requires_action", Answer.PENDING),
        ("failed", Declined),
        ("canceled", Declined),
        ("something_new", OutcomeUnknown),
    ],
)
def test_a_refund_is_answered_by_its_status(status, state):
    found = read_refund(refund(1, 500, status))
    if isinstance(state, type) and issubclass(state, Exception):
        with pytest.raises(state, match="re_1"):
            evidence.refund(found)
        return
    outcome = evidence.refund(found)
    assert (state, "re_1") == (outcome.answer, outcome.reference)
    assert state is not Answer.REFUNDED or eur("5.00") == outcome.amount


def test_what_is_made_waits_for_its_payer(reading, session, values):
    operation = values.operation(session, "initiate")
    outcome = evidence.made(reading(intent("requires_payment_method", received=0)), operation)
    assert (Answer.PENDING, "pi_1", None) == (outcome.answer, outcome.reference, outcome.expires_at)
    assert "stripe.payment_element" == outcome.next_action.kind
    outcome = evidence.made(reading(None, page()), operation)
    assert (Answer.PENDING, "cs_1") == (outcome.answer, outcome.reference)
    assert datetime.fromtimestamp(JANUARY + 86_400, UTC) == outcome.expires_at
    assert Redirect("https://checkout.stripe.com/c/pay/cs_1") == outcome.next_action


def test_what_is_made_and_wants_its_payer_at_once_says_so(reading, session, values):
    outcome = evidence.made(reading(VOUCHER), values.operation(session, "initiate"))
    assert (Answer.REQUIRES_MORE, "pi_1") == (outcome.answer, outcome.reference)
    assert ("stripe.next_action", "requires_action") == (
        outcome.next_action.kind,
        decode(outcome.data)["status"],
    )


@pytest.mark.parametrize(
    ("found", "at", "words"),
    [
        (HELD, None, "requires_capture already"),
        (intent("canceled", received=0), None, "canceled already"),
        (None, page("expired"), "expired already"),
        (None, page(amount_total=4199), "is about 41.99 EUR"),
        (intent("requires_payment_method", received=0, amount=4201), None, "is about 42.01 EUR"),
    ],
)
def test_what_was_made_otherwise_than_asked_is_in_doubt_and_keeps_its_id(
    reading, session, values, found, at, words
):
    with pytest.raises(OutcomeUnknown, match=words) as unknown:
        evidence.made(reading(found, at), values.operation(session, "initiate"))
    assert ("pi_1" if found is not None else "cs_1") == unknown.value.reference
    assert unknown.value.data is not None


# --- what the payer is to do -----------------------------------------------------------------------


@pytest.mark.parametrize("status", ["processing", "requires_capture", "succeeded", "canceled"])
def test_a_payer_who_has_paid_or_cannot_pay_any_more_is_asked_for_nothing(shown, status):
    assert shown(intent(status, received=0)).next_action is None


@pytest.mark.parametrize("status", ["requires_payment_method", "requires_confirmation"])
def test_a_payer_is_asked_to_pay_unless_a_kept_method_is_charged(reading, session, status):
    found = intent(status, received=0)
    assert "stripe.payment_element" == reading(found).action.kind
    kept = StripeData(payment_intent="pi_1", payment_method="pm_1")
    assert read(found, session, kept, Browser("pk_1")).action is None
    asked = read(VOUCHER, session, kept, Browser("pk_1")).action
    assert "stripe.next_action" == asked.kind


def test_without_a_client_secret_no_browser_is_sent_anywhere(reading):
    assert reading(intent("requires_payment_method", received=0, client_secret=None)).action is None


def test_a_page_that_is_over_sends_nobody_there(reading):
    waits = intent("requires_payment_method", received=0)
    assert Redirect("https://checkout.stripe.com/c/pay/cs_1") == reading(waits, page()).action
    assert reading(waits, page("complete", url="https://checkout.stripe.com/c/pay/cs_1")).action is None


# --- a page ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "at", "expected", "reference"),
    [
        ("requires_payment_method", "open", Status.PENDING, "cs_1"),
        ("requires_payment_method", "expired", Status.CANCELED, "cs_1"),
        ("requires_confirmation", "expired", Status.CANCELED, "cs_1"),
        ("requires_action", "expired", Status.REQUIRES_MORE, "cs_1"),
        ("processing", "complete", Status.PENDING, "cs_1"),
        ("requires_capture", "complete", Status.AUTHORIZED, "pi_1"),
        ("canceled", "complete", Status.CANCELED, "cs_1"),
    ],
)
def test_a_page_and_its_payment_are_read_together(reading, status, at, expected, reference):
    found = reading(intent(status, received=0), page(at))
    assert (expected, reference, "ps_1") == (found.status, found.reference, found.session_id)


def test_a_session_is_known_by_its_page_where_its_payment_does_not_say(reading):
    found = reading(intent("requires_payment_method", received=0, metadata={}), page())
    assert "ps_1" == found.session_id
    assert reading(intent(metadata={})).session_id is None
    other = intent("requires_payment_method", received=0, metadata={"paysession_session": "ps_2"})
    assert "ps_2" == reading(other, page()).session_id


def test_a_page_that_closed_while_its_update_is_in_doubt_may_have_been_replaced(reading, session, values):
    update, cancel = values.operation(session, "update"), values.operation(session, "cancel")
    waits = intent("requires_payment_method", received=0)
    for closed in (reading(None, page("expired")), reading(waits, page("expired"))):
        assert closed.replaced_by(update)
        assert not closed.replaced_by(cancel)
        assert not closed.replaced_by(None)
    for other in (
        reading(None, page()),
        reading(waits, page()),
        reading(intent("canceled", received=0)),
        reading(intent("canceled", received=0), page("complete")),
        reading(VOUCHER, page("expired")),
    ):
        assert not other.replaced_by(update)


def test_a_page_in_a_frame_is_shown_by_its_secret(reading):
    action = reading(None, page(url=None, client_secret="cs_1_secret_x")).action
    assert ("stripe.embedded_page", "cs_1_secret_x") == (action.kind, action.params["client_secret"])


def test_a_page_that_says_nothing_of_where_or_who_is_read_all_the_same(reading):
    found = reading(None, page(url=None))
    assert (None, None) == (found.action, found.payer)


def test_a_page_that_nobody_has_paid_at_shows_no_money(reading):
    found = snapshot(reading(None, page()))
    assert (Status.PENDING, eur("42.00"), eur("0.00")) == (found.status, found.amount, found.captured)
    assert ("ps_1", "cs_1") == (found.session_id, found.reference)
    assert datetime.fromtimestamp(JANUARY + 86_400, UTC) == found.expires_at
    assert ("open", ()) == (decode(found.data)["status"], found.effects)
    assert Redirect("https://checkout.stripe.com/c/pay/cs_1") == found.next_action
    assert Status.CANCELED == snapshot(reading(None, page("expired"))).status


def test_a_capture_is_what_was_received_beyond_what_is_in_the_ledger(reading):
    first = evidence.capture(reading(intent("requires_capture", received=1000, capturable=3200)))
    assert (eur("10.00"), False, None) == (first.amount, first.released, first.reference)
    second = evidence.capture(reading(intent(received=3000), captured=1000))
    assert (eur("20.00"), True, None) == (second.amount, second.released, second.reference)
    only = evidence.capture(reading(intent(received=1000)))
    assert (eur("10.00"), True, "ch_1") == (only.amount, only.released, only.reference)
    assert evidence.capture(reading(intent(received=1000, latest_charge=None))).reference is None


@pytest.mark.parametrize("captured", [1000, 1100])
def test_a_capture_that_shows_nothing_more_is_in_doubt(reading, captured):
    with pytest.raises(OutcomeUnknown, match="no further capture"):
        evidence.capture(reading(intent(received=1000), captured=captured))


def test_the_last_cent_is_a_capture(reading):
    assert eur("0.01") == evidence.capture(reading(intent(received=1001), captured=1000)).amount


def test_a_capture_of_which_the_payment_shows_nothing_yet_is_pending(reading):
    outcome = evidence.capture(reading(intent("processing", received=0)))
    assert (Answer.PENDING, "processing") == (outcome.answer, decode(outcome.data)["status"])


def test_a_cancel_that_left_the_payment_open_is_in_doubt(reading):
    for found in (
        intent("requires_capture", received=0, capturable=4200),
        intent("requires_payment_method", received=0),
    ):
        with pytest.raises(OutcomeUnknown, match="after it was canceled"):
            evidence.release(reading(found))


def test_a_cancel_that_shows_a_capture_that_the_ledger_lacks_is_in_doubt(reading):
    assert Answer.CANCELED == evidence.release(reading(intent(received=1000), captured=1000)).answer
    with pytest.raises(OutcomeUnknown, match="captured"):
        evidence.release(reading(intent(received=1000)))


def test_what_was_canceled_or_waits_is_known_by_stripes_id(reading):
    assert "pi_1" == evidence.release(reading(intent("canceled", received=0))).reference
    assert "cs_1" == evidence.release(reading(None, page("expired"))).reference
    assert "re_1" == evidence.refund(read_refund(refund(1, 500, "pending"))).reference


@pytest.fixture
def refused(reading, session, values):
    """Return a function that returns what a refusal for the state of a PaymentIntent proves: None, nothing."""

    def refused(kind, found, at=None, amount=None, begun=None, **changes):
        operation = values.operation(session, kind, amount or session.amount, 9, session_status=begun)
        doubt = OutcomeUnknown("payment_intent_unexpected_state")
        try:
            return evidence.after_refusal(reading(found, at, **changes), operation, doubt).answer
        except Declined as declined:
            return declined.code, declined.conclusive
        except OutcomeUnknown as unknown:
            assert unknown is doubt
            return None

    return refused


def test_a_refused_capture_is_declined_by_a_payment_that_ended_without_it(refused):
    assert ("payment_intent_canceled", True) == refused("capture", intent("canceled", received=0))
    assert refused("capture", intent("canceled", received=4200, captures=[(OURS, 4200)])) is None
    assert refused("capture", intent()) is None
    assert refused("capture", intent(), amount=eur("10.00")) is None
    assert refused("capture", intent("processing", received=0)) is None
    assert refused("capture", intent("processing", received=0), amount=eur("10.00")) is None
    assert refused("capture", VOUCHER, page("complete")) is None


def test_a_refused_cancel_is_declined_by_a_capture_that_the_ledger_lacks(refused):
    assert ("already_captured", True) == refused("cancel", intent(received=1000))
    # The rest may have been released by an earlier request of the same cancel.
    assert refused("cancel", intent(received=1000), amount=eur("32.00"), captured=1000) is None
    assert Answer.CANCELED == refused("cancel", intent("canceled", received=0))


@pytest.mark.parametrize("status", ["succeeded", "canceled"])
def test_a_refused_raise_is_declined_by_a_payment_that_ended_with_less(refused, status):
    found = intent(status, received=0)
    begun = {"begun": Status.AUTHORIZED}
    assert (f"payment_intent_{status}", True) == refused("update", found, amount=eur("42.01"), **begun)
    assert refused("update", found, amount=eur("42.00"), **begun) is None


def test_a_refused_raise_of_what_is_still_held_is_in_doubt(refused):
    held = intent("requires_capture", received=0, capturable=4200)
    assert refused("update", held, amount=eur("50.00"), begun=Status.AUTHORIZED) is None


def test_a_refused_update_is_declined_once_the_former_amount_is_authorized(refused, session, values):
    held = intent("requires_capture", received=0, capturable=4200)
    assert ("authorized", True) == refused("update", held, amount=eur("50.00"))
    assert "configuration" == evidence.paid_before(values.operation(session, "update")).category
    assert refused("update", held) is None
    assert refused("update", held, amount=eur("50.00"), **UNPAID) is None


def test_a_refused_update_waits_while_another_amount_is_processed(refused):
    found = intent("processing", received=0)
    assert ("payment_processing", False) == refused("update", found, amount=eur("50.00"), **UNPAID)
    assert refused("update", found, **UNPAID) is None
    assert ("payment_processing", False) == refused("cancel", found, **UNPAID)


def test_a_voucher_of_a_page_is_awaited_and_one_without_a_page_is_not(refused):
    for kind in ("cancel", "update"):
        assert ("payment_awaited", False) == refused(kind, VOUCHER, page("complete"), **UNPAID)
        assert refused(kind, VOUCHER, **UNPAID) is None
    untouched = intent("requires_confirmation", received=0)
    assert refused("cancel", untouched, page(), **UNPAID) is None


def test_an_update_after_a_payment_of_a_page_failed_for_good_is_declined(refused):
    failed = intent("requires_payment_method", received=0, last_payment_error=ERROR)
    assert ("payment_failed", True) == refused("update", failed, page("complete"), **UNPAID)
    assert refused("cancel", failed, page("complete"), **UNPAID) is None
    assert refused("update", failed, page(), **UNPAID) is None


def test_what_is_refused_before_there_is_a_payment_stays_in_doubt(reading, session, values):
    with pytest.raises(OutcomeUnknown, match="cs_1 has no PaymentIntent yet"):
        evidence.after_refusal(
            reading(None, page()), values.operation(session, "update"), OutcomeUnknown("no")
        )
