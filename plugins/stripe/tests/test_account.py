"""Stripe itself, where a test key is given: what a stand-in on this machine can only imitate."""

import os
import secrets

import pytest

from paysession import Checkout, Money, Payments
from paysession_stripe.demo import Demo

KEY = "PAYSESSION_STRIPE__API_KEY"

pytestmark = pytest.mark.skipif(
    not os.environ.get(KEY, "").startswith(("sk_test_", "rk_test_")), reason=f"{KEY} is no test key"
)


@pytest.fixture
def payments():
    with Payments.open("memory:", providers=["stripe"]) as payments:
        yield payments


@pytest.fixture
def begin(payments):
    def begin(amount, **changes):
        # A reference of its own for each run: the account remembers the keys of the last day.
        order = payments.create_collection(amount, reference=f"paysession's own tests {secrets.token_hex(8)}")
        checkout = Checkout(return_url="https://shop.example/back/{session_id}", description="Two books")
        return payments.initiate(order.id, provider="stripe", checkout=checkout, **changes)

    return begin


def test_a_life_and_a_kept_card(payments, begin):
    kept = {"email": "jenny@example.com", "name": "Jenny Rosen", "setup_future_usage": "off_session"}
    session = begin(Money("42.00", "EUR"), data=kept)
    assert ("pending", "stripe.payment_element") == (session.status, session.next_action.kind)
    session = payments.update(session.id, Money("40.00", "EUR"))
    with Demo() as browser:
        browser.payer_acts(session)
    session = payments.resume(session.id)
    assert ("authorized", 4000) == (session.status, session.authorized)
    session = payments.capture(session.id, Money("30.00", "EUR"), final=True)
    session = payments.refund(session.id, Money("5.00", "EUR"), reason="requested_by_customer")
    session = payments.refund(session.id, Money("7.00", "EUR"), reason="a torn page")
    assert (3000, 3000, 1200) == (session.authorized, session.captured, session.refunded)
    synced = payments.sync(session.id)
    assert (3000, 3000, 1200, None) == (synced.authorized, synced.captured, synced.refunded, synced.conflict)
    origins = [row.origin for row in payments.history(session.id)]
    assert "provider" not in origins[2:]  # the payer authorized it, in the browser
    card = {"customer": session.data["customer"], "payment_method": session.data["paid_with"]}
    session = begin(Money("12.00", "EUR"), data=card, capture="automatic")
    session = payments.authorize(session.id)
    assert ("authorized", 1200) == (session.status, session.captured)


def test_a_session_that_is_released(payments, begin):
    session = begin(Money("5000", "UGX"))
    assert Money("5000", "UGX") == payments.sync(session.id).amount
    assert "canceled" == payments.cancel(session.id).status
    assert "canceled" == payments.sync(session.id).status
