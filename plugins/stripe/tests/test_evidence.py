"""What a PaymentIntent proves about its session, read from Stripe's JSON without any request."""

from datetime import UTC, datetime

import pytest
from attrs import evolve

from paysession.provider import Kind, Money, Status
from paysession_stripe.data import StripeData
from paysession_stripe.evidence import Browser, read, snapshot
from paysession_stripe.intent import read_dispute, read_intent

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


def test_disputes_that_cannot_be_read_leave_what_they_took_open(shown):
    assert shown(intent(), None).charged_back is None
    assert eur("0.00") == shown(intent(), ()).charged_back
