"""Notifications lead to the gateway's truth, in whatever order they come, and however often."""

import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from paysession.provider import Kind, Money, OutcomeUnknown
from paysession.values import replace
from paysession_paypal.webhooks import parse
from paysession_sandbox.paypal import Fault


@pytest.fixture
def hook(make_shop, make_provider, verifier):
    """Return a shop that verifies notifications here, with the fake's authority."""
    return make_shop(make_provider(verifier=verifier[0]))


@pytest.fixture
def deliver(hook, fake):
    def deliver(event, **options):
        body = event if isinstance(event, bytes) else event.body
        return hook.payments.handle_webhook("paypal", headers=fake.signer.headers(body, **options), body=body)

    return deliver


def test_each_notification_names_the_session_and_what_it_is_about(hook, fake, verifier):
    session = hook.session()
    hook.payments.capture(session.id, Money("20.00", "EUR"))
    hook.payments.refund(session.id, Money("5.00", "EUR"))
    hook.payments.cancel(session.id)
    assert len(fake.events) == 5
    for event in fake.events:
        (read,) = parse(verifier[0], fake.signer.headers(event.body), event.body)
        assert read.session_id == session.id
        assert session.reference in read.references or read.type == "PAYMENT.CAPTURE.REFUNDED"


def test_a_payer_who_never_returns_is_no_lost_sale(hook, fake, deliver):
    hook.session("approved")
    (approved,) = fake.events
    assert deliver(approved).status == 200
    assert hook.books() == ("authorized", 4200, 4200, 0, 0)
    assert fake.effects == ["authorize 42.00"]


@pytest.mark.parametrize("until", ["initiated", "captured"])
def test_a_second_order_of_a_session_is_reported(hook, fake, deliver, until):
    """As a restored ledger finds it, whose session was begun under another key before."""
    session = hook.session("initiated" if until == "initiated" else "authorized")
    if until == "captured":
        session = hook.payments.capture(session.id, Money("20.00", "EUR"))
    before, seen = hook.books(), len(fake.events)
    operation = hook.payments.history(session.id)[0]
    other = hook.provider.initiate(session, replace(operation, id=f"{operation.id}-2")).reference
    fake.payer_approves(other)
    for event in fake.events[seen:]:
        assert deliver(event).status == 200
    (conflict,) = hook.payments.conflicts()
    assert (conflict.kind, conflict.expected, conflict.found) == ("second_payment", session.reference, other)
    assert hook.books() == before


def test_a_duplicate_is_acknowledged_and_changes_nothing(hook, fake, deliver):
    hook.session("approved")
    (event,) = fake.events
    assert [deliver(event).body for _ in range(3)] == ["ok", "nothing new", "nothing new"]
    assert len(hook.payments.events()) == 2
    assert fake.effects == ["authorize 42.00"]


def test_duplicates_at_once_have_one_effect(hook, fake, deliver):
    hook.session("approved")
    (event,) = fake.events
    with ThreadPoolExecutor(8) as pool:
        statuses = [f.result().status for f in [pool.submit(deliver, event) for _ in range(8)]]
    assert statuses == [200] * 8
    hook.settle()
    assert fake.effects == ["authorize 42.00"]
    assert hook.books() == ("authorized", 4200, 4200, 0, 0)
    assert [event.type for event in hook.payments.events()] == ["session.initiated", "session.authorized"]


def test_refunded_before_completed_converges(hook, fake, deliver):
    """Both were done in PayPal's dashboard, and the notifications come the other way round."""
    session = hook.session()
    fake.ledger.capture(
        next(iter(session.data["authorizations"])), {"amount": {"currency_code": "EUR", "value": "20.00"}}
    )
    (captured,) = [row for row in fake.events if row.document["event_type"] == "PAYMENT.CAPTURE.COMPLETED"]
    capture_id = captured.document["resource"]["id"]
    fake.ledger.refund(capture_id, {"amount": {"currency_code": "EUR", "value": "5.00"}})
    refunded = fake.events[-1]
    assert refunded.document["event_type"] == "PAYMENT.CAPTURE.REFUNDED"
    for event in (refunded, captured):
        assert deliver(event).status == 200
        assert hook.books() == ("authorized", 4200, 4200, 2000, 500)
    assert [row.origin for row in hook.payments.history(session.id)[2:]] == ["provider"] * 2


def test_every_notification_of_a_life_is_taken_in_any_order(hook, fake, deliver):
    session = hook.session()
    pay = hook.payments
    pay.capture(session.id, Money("20.00", "EUR"))
    capture = pay.history(session.id)[-1]
    pay.refund(session.id, Money("5.00", "EUR"), capture=capture.id)
    pay.cancel(session.id)
    books, count = hook.books(), len(pay.events())
    kinds = [event.document["event_type"] for event in fake.events]
    assert kinds == [
        "CHECKOUT.ORDER.APPROVED", "PAYMENT.AUTHORIZATION.CREATED", "PAYMENT.CAPTURE.COMPLETED",
        "PAYMENT.CAPTURE.REFUNDED", "PAYMENT.AUTHORIZATION.VOIDED",
    ]  # fmt: skip
    for event in reversed(fake.events):
        assert deliver(event).status == 200
    assert (hook.books(), len(pay.events())) == (books, count), "the ledger was right already"


def test_a_chargeback_is_recorded_beside_its_capture(hook, fake, deliver):
    session = hook.session()
    hook.payments.capture(session.id)
    fake.ledger.reverse(hook.payments.history(session.id)[-1].reference)
    assert deliver(fake.events[-1]).status == 200
    assert hook.books() == ("authorized", 4200, 4200, 4200, 0)
    assert hook.payments.get(session.id).charged_back == 4200
    capture, row = hook.payments.history(session.id)[-2:]
    assert (row.kind, row.origin, row.amount) == (Kind.CHARGEBACK, "provider", Money("42.00", "EUR"))
    assert row.capture_id == capture.id


def test_a_chargeback_that_the_shop_wins_is_undone(hook, fake, deliver, clock):
    session = hook.session()
    hook.payments.capture(session.id)
    (capture,) = fake.ledger.orders[session.reference].captures
    fake.ledger.reverse(capture.id)
    deliver(fake.events[-1])
    capture.taken, capture.status = Decimal(0), "COMPLETED"
    clock.forward(days=60)
    hook.payments.sync(session.id)
    assert hook.books() == ("authorized", 4200, 4200, 4200, 0)
    taken, given = hook.payments.history(session.id)[-2:]
    assert (given.reverses, given.origin, given.amount) == (taken.id, "provider", taken.amount)


def test_a_chargeback_is_not_taken_for_a_refund_of_ours_in_doubt(hook, fake, deliver):
    """Ours never arrived, and never can now: PayPal has given the capture back without it."""
    session = hook.session()
    hook.payments.capture(session.id)
    fake.fail("refund", Fault.drop())
    with pytest.raises(OutcomeUnknown):
        hook.payments.refund(session.id, idempotency_key="r")
    fake.ledger.reverse(hook.payments.history(session.id)[-2].reference)
    deliver(fake.events[-1])
    hook.settle()
    assert hook.payments.in_doubt() == ()
    assert hook.books() == ("authorized", 4200, 4200, 4200, 0)
    assert hook.payments.get(session.id).charged_back == 4200
    rows = [row for row in hook.payments.history(session.id) if row.kind in (Kind.REFUND, Kind.CHARGEBACK)]
    assert [(row.origin, row.state) for row in rows] == [("host", "declined"), ("provider", "succeeded")]
    assert rows[0].error.code == "CAPTURE_FULLY_REFUNDED"
    assert fake.effects == ["authorize 42.00", "capture 42.00", "chargeback 42.00"]


@pytest.mark.parametrize(
    "kind",
    [
        "CUSTOMER.DISPUTE.CREATED",
        "BILLING.SUBSCRIPTION.ACTIVATED",
        "PAYMENT.NOT.KNOWN.YET",
        "PAYMENTS.PAYMENT.CREATED",
    ],
)
def test_an_unknown_type_is_acknowledged(hook, deliver, kind):
    reply = deliver(json.dumps({"id": "WH-9", "event_type": kind, "resource": {"id": "X9"}}).encode())
    assert reply.status == 200
    assert hook.payments.events() == ()


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"event_type": "PAYMENT.X"},
        {"event_type": 1, "resource": []},
        {
            "id": 7,
            "event_type": "PAYMENT.X",
            "resource": {
                "id": 7,
                "links": [1, {"rel": "up"}],
                "purchase_units": 3,
                "supplementary_data": {"related_ids": [1]},
            },
        },
    ],
)
def test_a_notification_of_another_shape_is_acknowledged(hook, deliver, document):
    assert deliver(json.dumps(document).encode()).status == 200


def test_a_forged_one_changes_nothing(hook, fake, deliver):
    hook.session("approved")
    (event,) = fake.events
    assert deliver(event, webhook_id="another").status == 400
    assert hook.payments.events()[-1].type == "session.initiated"
    assert fake.effects == []


def test_when_the_certificate_cannot_be_fetched_paypal_is_asked_to_send_again(
    make_shop, make_provider, fake, make_checker
):
    def fetch(url, timeout):
        raise OutcomeUnknown("PayPal's certificate could not be fetched: ReadTimeout")

    shop = make_shop(make_provider(verifier=make_checker(fetch)))
    shop.session("approved")
    event = fake.events[0]
    headers = fake.signer.headers(event.body)
    assert shop.payments.handle_webhook("paypal", headers=headers, body=event.body).status == 503
    assert fake.effects == []


def test_header_names_may_be_written_in_any_case(hook, fake):
    hook.session("approved")
    (event,) = fake.events
    headers = {name.upper(): value for name, value in fake.signer.headers(event.body).items()}
    assert hook.payments.handle_webhook("paypal", headers=headers, body=event.body).status == 200
    assert fake.effects == ["authorize 42.00"]
