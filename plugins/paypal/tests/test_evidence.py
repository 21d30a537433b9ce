"""What proves that an operation in doubt has not happened, and what proves nothing yet."""

import json
from contextlib import suppress
from datetime import timedelta

import pytest

from paysession.operation import State
from paysession.provider import Kind, Money, OutcomeUnknown
from paysession.values import replace
from paysession_paypal.orders import read_order
from paysession_paypal.reading import Reading
from paysession_sandbox.paypal import Fault

EUR20 = Money("20.00", "EUR")


def failed_by(order, session, operation, now):
    """Return the effects that a lookup says failed with the operation in doubt."""
    effects = Reading(order, session, now).snapshot(operation).effects
    return [effect for effect in effects if effect.state == "failed" and effect.key == operation.key]


@pytest.fixture
def ask(hand, fake, clock):
    """Return a function that looks at the order for an operation in doubt; None: nothing is proved."""
    hand.authorized(fake)
    hand.do("capture", "20.00")
    authorization = next(iter(hand.session.data["authorizations"]))

    def ask(
        kind,
        amount="20.00",
        *,
        change=lambda ledger, authorization, capture: None,
        known_clock=True,
        **fields,
    ):
        order = fake.ledger.orders[hand.session.reference]
        change(fake.ledger, authorization, order.captures[0].id)
        hand.look()
        now = clock() if known_clock else None
        order = read_order(json.loads(fake.calls("show")[-1].answer.body))
        operation = hand.operation(kind, amount, sent_at=clock() - timedelta(minutes=1), **fields)
        found = failed_by(order, hand.session, operation, now)
        assert all((e.kind, e.amount) == (operation.kind, operation.amount) for e in found)
        return found[0].error.code if found else None

    ask.hand = hand
    return ask


def euros(value, **more):
    return {"amount": {"currency_code": "EUR", "value": value}, **more}


def test_while_something_is_left_a_capture_may_still_happen(ask):
    assert ask("capture") is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda ledger, a, c: ledger.void(a), "AUTHORIZATION_VOIDED"),
        (lambda ledger, a, c: ledger.capture(a, euros("22.00")), "AUTHORIZATION_ALREADY_CAPTURED"),
        (
            lambda ledger, a, c: ledger.capture(a, euros("1.00", final_capture=True)),
            "AUTHORIZATION_ALREADY_CAPTURED",
        ),
        (
            lambda ledger, a, c: setattr(ledger.authorization(a)[1], "status", "DENIED"),
            "AUTHORIZATION_DENIED",
        ),
    ],
    ids=["void", "captured to the end", "captured finally", "denied"],
)
def test_once_nothing_is_left_a_capture_that_is_not_listed_never_happened(ask, change, code):
    assert ask("capture", change=change) == code


def test_a_capture_that_failed_leaves_what_it_did_not_take(ask, fake):
    fake.ledger.next_status["capture"] = ["DECLINED"]
    assert (
        ask("capture", change=lambda ledger, a, c: ledger.capture(a, euros("22.00", final_capture=True)))
        is None
    )


def test_out_of_time_is_by_paypals_clock(ask, clock):
    clock.forward(days=29)
    assert ask("capture") is None
    clock.forward(minutes=10)
    assert ask("capture", known_clock=False) is None
    assert ask("capture") == "AUTHORIZATION_EXPIRED"


def test_a_capture_at_the_last_moment_is_not_refused_before_it_would_show(shop, fake, clock):
    """PayPal captured, and its order, which may lag, does not show that when the authorization ends."""
    from paysession_sandbox.paypal import Fault

    session = shop.session()
    shop.payments.sync(session.id)
    before = fake.calls("show")[-1].answer.body
    clock.forward(days=29, seconds=-1)
    fake.fail("capture", Fault.drop(committed=True))
    fake.fail("show", Fault.answer(200, before), times=2)
    with pytest.raises(OutcomeUnknown):
        shop.payments.capture(session.id, EUR20)
    clock.forward(seconds=2)
    shop.payments.sync(session.id)
    shop.settle()
    (row,) = [row for row in shop.payments.history(session.id) if row.kind is Kind.CAPTURE]
    assert ("host", State.SUCCEEDED) == (row.origin, row.state)
    assert shop.payments.get(session.id).conflict is None
    assert shop.books() == ("authorized", 4200, 2000, 2000, 0)


def test_a_capture_that_is_listed_has_happened(ask):
    last = ask.hand.last

    def void(ledger, authorization, capture):
        ledger.void(authorization)
        ask.hand.operations.pop()

    assert ask("capture", change=void) is None
    assert ask.hand.last.key == last.key


def test_effects_without_an_invoice_number_may_be_ours(ask):
    def lose(ledger, authorization, capture):
        ledger.void(authorization)
        order, row = ledger.capture_of(capture)
        row.invoice_id = None

    assert ask("capture", change=lose) is None


def test_while_something_is_left_of_the_capture_a_refund_may_still_happen(ask):
    capture = ask.hand.last
    assert ask("refund", "5.00", capture=capture) is None
    assert (
        ask("refund", "5.00", capture=capture, change=lambda ledger, a, c: ledger.refund(c, euros("19.00")))
        is None
    )


def test_a_capture_refunded_to_the_end_by_others_leaves_nothing_to_refund(ask):
    capture = ask.hand.last
    code = ask(
        "refund", "5.00", capture=capture, change=lambda ledger, a, c: ledger.refund(c, euros("20.00"))
    )
    assert code == "CAPTURE_FULLY_REFUNDED"


def test_a_refund_of_another_capture_or_of_none_that_is_known_proves_nothing(ask):
    capture = ask.hand.last
    elsewhere = replace(capture, reference="C9")
    assert (
        ask("refund", "5.00", capture=elsewhere, change=lambda ledger, a, c: ledger.refund(c, euros("20.00")))
        is None
    )
    assert ask("refund", "5.00") is None


def test_a_chargeback_is_no_proof_until_a_refund_made_just_now_would_show(ask, clock, hand, fake):
    capture = ask.hand.last
    assert ask("refund", "5.00", capture=capture, change=lambda ledger, a, c: ledger.reverse(c)) is None
    hand.look()
    order = read_order(json.loads(fake.calls("show")[-1].answer.body))
    operation = hand.operation("refund", "5.00", capture=capture, sent_at=clock() - timedelta(minutes=10))
    (found,) = failed_by(order, hand.session, operation, clock())
    assert found.error.code == "CAPTURE_FULLY_REFUNDED"
    assert failed_by(order, hand.session, operation, None) == []
    unsent = replace(operation, sent_at=None)
    assert failed_by(order, hand.session, unsent, clock()) == []


@pytest.mark.parametrize("kind", ["initiate", "update", "authorize", "cancel"])
def test_of_other_operations_the_status_tells(ask, kind):
    assert ask(kind, change=lambda ledger, a, c: ledger.void(a)) is None


def test_a_capture_that_others_overtook_is_declined_with_paypals_word(shop, fake):
    from paysession_sandbox.paypal import Fault

    session = shop.session()
    fake.fail("capture", Fault.drop())
    with pytest.raises(OutcomeUnknown):
        shop.payments.capture(session.id, EUR20)
    fake.ledger.capture(next(iter(session.data["authorizations"])), euros("42.00"))
    shop.settle()
    rows = [row for row in shop.payments.history(session.id) if row.kind is Kind.CAPTURE]
    assert [(row.origin, row.state) for row in rows] == [
        ("host", State.DECLINED),
        ("provider", State.SUCCEEDED),
    ]
    assert rows[0].error.code == "AUTHORIZATION_ALREADY_CAPTURED"
    assert shop.books() == ("authorized", 4200, 4200, 4200, 0)


def test_a_refund_without_an_invoice_number_is_not_taken_for_ours_in_doubt(shop, fake):
    """Ours never arrived. Each of ours has the operation's key, so that a refund without one is another's."""
    session = shop.session(capture="automatic")
    (capture,) = session.data["captures"]
    fake.fail("refund", Fault.drop())
    with pytest.raises(OutcomeUnknown):
        shop.payments.refund(session.id, Money("5.00", "EUR"), idempotency_key="r")
    _, _, other = fake.ledger.refund(capture, {"amount": {"currency_code": "EUR", "value": "5.00"}})
    other.invoice_id = None
    shop.settle()
    assert fake.effects.count("refund 5.00") == 2
    session = shop.payments.get(session.id)
    assert (session.refunded_amount, session.conflict) == (Money("10.00", "EUR"), None)
    rows = [row for row in shop.payments.history(session.id) if row.kind is Kind.REFUND]
    assert {(row.origin, row.state, row.sure) for row in rows} == {
        ("host", State.SUCCEEDED, True),
        ("provider", State.SUCCEEDED, True),
    }


@pytest.mark.parametrize("days", [44, 46])
def test_a_refund_that_lost_its_invoice_number_is_not_made_twice(captured, fake, days):
    """PayPal has forgotten the key, and an effect that may be ours shows without it: a person is to look."""
    shop, session_id, _ = captured

    def silent(call, document):
        for unit in document["purchase_units"] if call == "show" else ():
            for row in unit["payments"].get("refunds", []):
                row.pop("invoice_id", None)
        return document

    fake.twist(silent)
    fake.fail("refund", Fault.drop(committed=True))
    with pytest.raises(OutcomeUnknown):
        shop.payments.refund(session_id, Money("5.00", "EUR"), idempotency_key="r")
    shop.clock.forward(days=days)
    shop.settle(12)
    assert shop.payments.sync(session_id).in_doubt is (days == 46)  # it can be looked at in any case
    with suppress(OutcomeUnknown):
        shop.payments.refund(session_id, Money("5.00", "EUR"), idempotency_key="r")
    assert fake.effects.count("refund 5.00") == 1
